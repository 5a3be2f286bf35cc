"""Plants faults in a copy of the files, one after another, and runs their tests.

    python -m tests.faults.mutations
    python -m tests.faults.mutations --only eq-9 default

The tests run once without a fault first. A fault is "caught" if its test fails then,
"missed" if it passes, "stale" if the code to change is not there any more, and "broken"
if the test cannot run at all. The exit status is 0 only if all faults were caught.
"""

import argparse
import collections
import os
import pathlib
import sys
import tempfile

from ram_tf.data import progress
from tests.faults.mutations import planted, trial

STATES = ("caught", "missed", "stale", "broken")


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.mutations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], help="parts of names; default: all"
    )
    return parser.parse_args(argv)


def table(outcomes):
    """Formats pairs of `Fault` and state as a Markdown table."""
    rows = [("fault", "file", "test", "outcome"), ("---",) * 4]
    rows += [(fault.name, fault.file, fault.test, state) for fault, state in outcomes]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def summary(outcomes):
    """Counts the states, of each area and of all, as a Markdown table."""
    areas = dict.fromkeys(fault.area for fault, _ in outcomes)
    counts = collections.Counter((fault.area, state) for fault, state in outcomes)
    rows = [("area", *STATES), ("---",) * (len(STATES) + 1)]
    rows += [(area, *(f"{counts[area, s]}" for s in STATES)) for area in areas]
    all_areas = (sum(counts[area, s] for area in areas) for s in STATES)
    rows.append(("all", *map(str, all_areas)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def status(outcomes):
    """Returns the exit status: 0 only if there are faults and all were caught."""
    return 0 if {state for _, state in outcomes} == {"caught"} else 1


def try_all(faults, copy, outcomes):
    """Adds the outcome of each fault to a list of pairs of `Fault` and state."""
    for fault in (bar := progress.bar(faults, "planted faults", unit="fault")):
        state, printed = trial.outcome(fault, copy)
        outcomes.append((fault, state))
        if state != "caught":
            shown = "\n".join(printed.splitlines()[-8:])
            bar.write(f"{state}: {fault.name}\n{shown}", file=sys.stderr)


def main(argv=None):
    arguments = parse(argv)
    faults = [
        fault
        for fault in planted.read_all()
        if any(part in fault.name for part in arguments.only)
    ]
    if not faults:
        print(f"error: no fault has such a name. Received: {arguments.only}")
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    trial.load_first()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = trial.Copy(pathlib.Path(folder) / "copy")
        tests = sorted({fault.test for fault in faults})
        passed, printed = copy.run(tests)
        if passed != 0:
            print(f"{printed}\nerror: the tests do not pass without a fault")
            return 1
        print(f"without a fault: {printed.splitlines()[-1]}", flush=True)
        try:
            try_all(faults, copy, outcomes)
        except KeyboardInterrupt:
            print(f"interrupted: {len(faults) - len(outcomes)} faults were not tried")
            return 130
        finally:
            print(f"{table(outcomes)}\n\n{summary(outcomes)}")
    return status(outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
