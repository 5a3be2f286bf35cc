"""A fault, where it strikes, and what became of it."""

import pathlib
import traceback
from collections.abc import Callable
from typing import NamedTuple


class NotHeldError(Exception):
    """The program did not hold against a fault."""


class NotPossibleError(Exception):
    """A fault cannot be done on this machine."""


class Case(NamedTuple):
    """A fault to be done.

    Args:
        fault: What it is.
        where: Which file or moment it strikes.
        do: From a `Bench` to the pair of what the program said and how it ended.
            Raises `NotHeldError` or `NotPossibleError`.
    """

    fault: str
    where: str
    do: Callable


class Outcome(NamedTuple):
    """What became of a fault.

    Args:
        fault: See `Case`.
        where: The same.
        said: What the program said.
        outcome: How it ended.
        state: "held", "failed" or "skipped".
    """

    fault: str
    where: str
    said: str
    outcome: str
    state: str


def outcome(case, bench):
    """Does a `Case` on a `Bench`, and returns its `Outcome`."""
    try:
        said, ended = case.do(bench)
        return Outcome(case.fault, case.where, said, ended, "held")
    except NotHeldError as failed:
        return Outcome(case.fault, case.where, str(failed), "FAILED", "failed")
    except NotPossibleError as skipped:
        return Outcome(case.fault, case.where, "", f"skipped: {skipped}", "skipped")
    except Exception as error:  # one fault that breaks the suite costs no other
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{pathlib.PurePath(last.filename).name}:{last.lineno}"
        said = f"{type(error).__name__}: {error} ({place})"
        return Outcome(case.fault, case.where, said, "FAILED", "failed")


def table(outcomes):
    """The outcomes as a table in Markdown."""
    rows = [("fault", "where", "what the program said", "outcome"), ("---",) * 4]
    rows += [outcome[:4] for outcome in outcomes]
    cells = ((" ".join(c.split()).replace("|", "\\|") for c in row) for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def summary(outcomes):
    """Lines that count the outcomes, and name what failed or was skipped."""
    counts = {
        state: [o for o in outcomes if o.state == state]
        for state in ("held", "failed", "skipped")
    }
    lines = [", ".join(f"{len(some)} {state}" for state, some in counts.items())]
    for state in ("failed", "skipped"):
        lines += [f"{state}: {o.fault}, {o.where}" for o in counts[state]]
    return "\n".join(lines)


def status(outcomes):
    """The exit status: 0 only if something was done and nothing failed."""
    states = {outcome.state for outcome in outcomes}
    return 0 if "held" in states and "failed" not in states else 1
