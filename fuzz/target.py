"""A reader under test, and what counts as right."""

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

# What `ram_tf.cli.command` turns into a sentence, beside TensorFlow's errors.
REFUSALS = (ValueError, OSError)
# Examples that share a generator: it remembers all of them, which takes memory.
AT_ONCE = 500
MIB = 1 << 20


class Target(NamedTuple):
    """A reader under test.

    Args:
        inputs: A hypothesis strategy.
        read: Takes an input; returns, raises one of `refusals`, or is wrong. It checks
            what it gets itself, by assertions.
        valid: An input that it must accept.
        refusals: The errors by which it may refuse.
        at_once: How many inputs one of `inputs` is made of.
    """

    inputs: object
    read: Callable
    valid: object
    refusals: tuple = REFUSALS
    at_once: int = 1


def wrong(target, value):
    """What is wrong with how a reader takes an input; None where nothing is."""
    try:
        target.read(value)
    except target.refusals as error:
        # TensorFlow and the system write their own sentences.
        if isinstance(error, ValueError) and "Received" not in str(error):
            return _told(error, "no sentence: ")
    except Exception as error:
        return _told(error)
    return None


def _told(error, prefix=""):
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return f"{prefix}{type(error).__name__}: {str(error)[:200]} ({where})"


def try_inputs(target, count, seed, seconds, begin=None, found=None):
    """Gives a reader inputs, the same ones for the same seed.

    Args:
        target: The `Target`.
        count: How many.
        seed: Of the draws.
        seconds: After so many for one input SIGALRM ends the process, wherever it is.
        begin: Called with each input before it is read.
        found: Called with what is wrong and its input.

    Returns:
        How many were read.

    Raises:
        AssertionError: The reader refuses its valid input.
    """
    target.read(target.valid)
    done = 0

    def one(value):
        nonlocal done
        done += 1
        if begin:
            begin(value)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        said = wrong(target, value)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if said and found:
            found(said, value)

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
    """The most memory that this process has had, in MiB."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # What getrusage says on Linux may be that of the process that began this one.
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)
