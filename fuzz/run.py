"""Fuzzes every reader of untrusted bytes with invalid inputs.

    python -m fuzz.run
    python -m fuzz.run --inputs 20000 --seed 1 --only csv_files coco_files

Prints a table and each error with its input; the exit status is 1 if there are errors.
A reader must return a valid value, or refuse the input with a message, within --seconds
and --memory. Each runs in a process of its own. Equal seeds give equal inputs.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

# The default number of inputs; images are slow.
TARGETS = {
    "csv_files": 20_000,
    "voc_files": 10_000,
    "voc_exports": 10_000,
    "coco_files": 10_000,
    "tfds_index": 10_000,
    "run_files": 15_000,
    "views_file": 5_000,
    "model_files": 5_000,
    "array_files": 10_000,
    "weights_files": 500,
    "shard_files": 10_000,
    "server_answers": 5_000,
    "decoding": 10_000,
    "conversion": 10_000,
    "pipeline": 2_000,
    "served_graph": 2_000,
}
DEATHS = 5  # crashes and hangs after which a target is given up
SHARED_MEMORY = pathlib.Path("/dev/shm")  # Its files are in memory.


class Row(NamedTuple):
    """The results of a target, a row of the table."""

    name: str
    inputs: int
    wrong: int
    crashes: int
    hangs: int
    seconds: float
    memory: float


def main(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, help="per target; default: see TARGETS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="+", choices=TARGETS, default=[*TARGETS], metavar="TARGET"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="limit per input; %(default)s"
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=512,
        help="limit in MiB above the memory of a valid input; %(default)s",
    )
    arguments = parser.parse_args(argv)
    rows = []
    print(_line(*Row._fields), flush=True)
    for name in arguments.only:
        count = arguments.inputs or TARGETS[name]
        row, findings = try_reader(f"fuzz.{name}", count, arguments)
        rows.append(row)
        print(_line(*row), flush=True)
        for finding in findings:
            print(f"  {finding['message']}\n    {finding['input'][:500]}", flush=True)
    total = Row("all", *(sum(column) for column in [*zip(*rows, strict=True)][1:]))
    print(_line(*total._replace(memory=max(row.memory for row in rows))))
    return int(any(is_bad(row, arguments.memory) for row in rows))


def is_bad(row, memory):
    """Returns whether a row has errors or exceeds the memory limit."""
    return bool(row.wrong or row.crashes or row.hangs or row.memory > memory)


def try_reader(module, count, arguments):
    """Runs a target on `count` inputs, restarted after each crash or hang.

    Args:
        module: The name of the target's module.
        count: The number of inputs.
        arguments: Has `seed`, `seconds` and `memory` (MiB).

    Returns:
        The `Row`, and a list of findings: one for each kind and place, with an input.
    """
    inputs = crashes = hangs = 0
    memory, findings, started = 0.0, [], time.monotonic()
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    while inputs < count and crashes + hangs < DEATHS:
        with tempfile.TemporaryDirectory(dir=where) as place:
            folder = pathlib.Path(place)
            ended = subprocess.run(
                [
                    *(sys.executable, "-m", "fuzz.child", module, place),
                    f"--inputs={count - inputs}",
                    f"--seed={arguments.seed + crashes + hangs}",
                    f"--seconds={arguments.seconds}",
                    f"--memory={arguments.memory}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
            )
            findings += _read(folder / "findings")
            if ended.returncode == 0:
                (result,) = _read(folder / "result")
                inputs += result["inputs"]
                memory = max(memory, result["memory"])
                continue
            hung = ended.returncode == -signal.SIGALRM
            crashes, hangs = crashes + (not hung), hangs + hung
            message = f"ended with {ended.returncode}: {ended.stderr[-1500:]}"
            done, peak, last = 0, 0, ""
            if (folder / "input").exists():
                numbers, _, last = (folder / "input").read_text().partition("\n")
                done, peak = numbers.split()
            inputs, memory = inputs + int(done), max(memory, float(peak))
            findings.append({"message": message, "input": last})
    by_kind = {_kind(finding["message"]): finding for finding in findings}
    took = time.monotonic() - started
    row = Row(module.rpartition(".")[2], inputs, 0, crashes, hangs, took, memory)
    return row._replace(wrong=len(findings) - crashes - hangs), [*by_kind.values()]


def _kind(message):
    """Returns the error and its place, without its details."""
    return message.partition(":")[0], message.rpartition("(")[2]


def _read(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _line(name, *values):
    cells = [f"{v:.0f}" if isinstance(v, float) else str(v) for v in values]
    return f"| {name:15} | " + " | ".join(f"{cell:>8}" for cell in cells) + " |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
