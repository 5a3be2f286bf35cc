"""A reader under test, and what counts as an error."""

import pathlib
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase

# What `ram_tf.cli.command` prints as a message, in addition to TensorFlow's errors.
REFUSALS = (ValueError, OSError)
# Examples per generator: hypothesis keeps all of them in memory.
AT_ONCE = 500
MIB = 1 << 20


class Target(NamedTuple):
    """A reader under test.

    Args:
        inputs: A hypothesis strategy.
        read: Reads an input and checks the result by assertions.
        valid: An input that `read` must accept.
        refusals: The errors by which `read` may refuse an input.
        at_once: The number of inputs in one example of `inputs`.
    """

    inputs: object
    read: Callable
    valid: object
    refusals: tuple = REFUSALS
    at_once: int = 1


def find_error(target, value):
    """Returns a description of the reader's error on an input, or None."""
    try:
        target.read(value)
    except target.refusals as error:
        # The messages of TensorFlow and the system have another form.
        if isinstance(error, ValueError) and "Received" not in str(error):
            return _describe(error, "no sentence: ")
    except Exception as error:
        return _describe(error)
    return None


def _describe(error, prefix=""):
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return f"{prefix}{type(error).__name__}: {str(error)[:200]} ({where})"


def try_inputs(target, count, seed, seconds, begin=None, report=None):
    """Runs a reader on inputs; equal seeds give equal inputs.

    Args:
        target: The `Target`.
        count: The number of inputs.
        seed: The seed of the inputs.
        seconds: The time for one example, after which SIGALRM ends the process.
        begin: A function that is called with each example before it is read.
        report: A function that is called with an error's description and its example.

    Returns:
        The number of examples that were read.
    """
    target.read(target.valid)
    done = 0

    def one(value):
        nonlocal done
        done += 1
        if begin:
            begin(value)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        message = find_error(target, value)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if message and report:
            report(message, value)

    while done < count:
        examples = hypothesis.settings(
            max_examples=min(AT_ONCE, count - done),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        before = done
        hypothesis.seed(seed * 1_000_003 + done)(
            examples(hypothesis.given(target.inputs)(one))
        )()
        if done == before:
            break
    return done


def peak_memory():
    """Returns the peak memory of this process in MiB."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # On Linux, getrusage may return the peak of the parent process.
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)
