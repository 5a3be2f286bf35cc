"""A fault, the place where it happens, and its outcome."""

import pathlib
import traceback
from collections.abc import Callable
from typing import NamedTuple


class FailedError(Exception):
    """The script did not handle a fault."""


class SkippedError(Exception):
    """A fault cannot be caused on this machine."""


class Case(NamedTuple):
    """A fault at a place.

    Args:
        fault: The kind of fault.
        where: The file or moment where it happens.
        do: A function that causes the fault in a `Workspace`. Returns the script's
            message and the outcome; raises `FailedError` or `SkippedError`.
    """

    fault: str
    where: str
    do: Callable


class Outcome(NamedTuple):
    """The outcome of a fault.

    Args:
        fault: See `Case`.
        where: See `Case`.
        message: The script's message.
        outcome: A description of the outcome.
        state: "passed", "failed" or "skipped".
    """

    fault: str
    where: str
    message: str
    outcome: str
    state: str


def outcome(case, work):
    """Runs a `Case` in a `Workspace` and returns its `Outcome`."""
    try:
        message, ended = case.do(work)
        return Outcome(case.fault, case.where, message, ended, "passed")
    except FailedError as failed:
        return Outcome(case.fault, case.where, str(failed), "FAILED", "failed")
    except SkippedError as skipped:
        return Outcome(case.fault, case.where, "", f"skipped: {skipped}", "skipped")
    except Exception as error:  # other faults are still tested
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{pathlib.PurePath(last.filename).name}:{last.lineno}"
        message = f"{type(error).__name__}: {error} ({place})"
        return Outcome(case.fault, case.where, message, "FAILED", "failed")


def table(outcomes):
    """Formats the outcomes as a Markdown table."""
    rows = [("fault", "where", "message", "outcome"), ("---",) * 4]
    rows += [outcome[:4] for outcome in outcomes]
    cells = ((" ".join(c.split()).replace("|", "\\|") for c in row) for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def summary(outcomes):
    """Counts the outcomes, and names the faults that failed or were skipped."""
    counts = {
        state: [o for o in outcomes if o.state == state]
        for state in ("passed", "failed", "skipped")
    }
    lines = [", ".join(f"{len(each)} {state}" for state, each in counts.items())]
    for state in ("failed", "skipped"):
        lines += [f"{state}: {o.fault}, {o.where}" for o in counts[state]]
    return "\n".join(lines)


def status(outcomes):
    """Returns the exit status: 0 only if a fault passed and none failed."""
    states = {outcome.state for outcome in outcomes}
    return 0 if "passed" in states and "failed" not in states else 1
