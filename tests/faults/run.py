"""Tests the scripts under faults and prints the outcomes as a Markdown table.

    python -m tests.faults.run
    python -m tests.faults.run --only kills --kills 10 --seed 1

A fault has "passed" if the script named it or was not affected, and its files are
complete and bit-equal to those of an undisturbed run; it is "skipped" if it cannot be
caused on this machine. The exit status is 0 only if none has "failed".
"""

import argparse
import os
import pathlib
import re
import shutil
import sys
import tempfile

from tqdm import tqdm

from tests.faults import (
    case,
    clock,
    corruption,
    disk_full,
    kills,
    read_only,
    two_writers,
)
from tests.faults.workspace import Workspace

PARTS = {
    "two_writers": two_writers,
    "disk_full": disk_full,
    "read_only": read_only,
    "clock": clock,
    "corruption": corruption,
    "kills": kills,
}


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=tuple(PARTS), help="default: all"
    )
    parser.add_argument(
        "--where", default="", help="part of the places to test; default: all"
    )
    parser.add_argument(
        "--kills", type=int, default=50, help="kills of each script; %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--keep", help="folder for all files, which is kept")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    cases = [
        each
        for name in arguments.only
        for each in PARTS[name].CASES
        if arguments.where in each.where
    ]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = pathlib.Path(arguments.keep or tempfile.mkdtemp(prefix="faults-"))
    folder.mkdir(exist_ok=True)
    outcomes, interrupted = [], False
    try:
        work = Workspace(folder.resolve(), arguments.kills, arguments.seed)
        for each in (bar := tqdm(cases, "faults", unit="fault")):
            bar.set_postfix_str(f"{each.fault}, {each.where}"[:60])
            outcomes.append(case.outcome(each, work))
            if outcomes[-1].state == "failed":
                bar.write(f"failed: {' | '.join(outcomes[-1][:3])}", file=sys.stderr)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    # The paths of temporary folders are left out.
    place = re.escape(str(folder.resolve()))
    text = re.sub(f"{place}/[0-9]+-", "", case.table(outcomes))
    print(f"{text}\n\n{case.summary(outcomes)}")
    if interrupted:
        print(f"interrupted: {len(cases) - len(outcomes)} faults were not tested")
        return 130
    return case.status(outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
