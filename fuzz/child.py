"""Fuzzes one reader in a process of its own, so that a crash ends nothing else.

It writes errors as lines of JSON. Before each input is read, it writes the number of
inputs and the memory so far, and the input: it remains after a crash or a hang.
"""

import argparse
import importlib
import json
import math
import pathlib
import resource
import sys
import tempfile
import time

from fuzz.target import MIB, peak_memory, try_inputs


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--memory", type=int, required=True)
    arguments = parser.parse_args(argv)
    folder, done = arguments.folder, 0

    def begin(value):
        nonlocal done
        done += target.at_once
        last.seek(0)
        last.truncate()
        so_far = f"{done} {peak_memory() - before}"
        last.write(f"{so_far}\n{value!r}\n".encode(errors="backslashreplace"))

    def report(message, value):
        with (folder / "findings").open("a") as file:
            file.write(json.dumps({"message": message, "input": repr(value)}) + "\n")

    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        (folder / "input").open("wb", buffering=0) as last,
    ):
        module = importlib.import_module(arguments.module)
        target = module.target(pathlib.Path(place))
        target.read(target.valid)
        before = peak_memory()
        _limit(arguments.memory)
        count = math.ceil(arguments.inputs / target.at_once)
        started = time.monotonic()
        try_inputs(target, count, arguments.seed, arguments.seconds, begin, report)
    result = {
        "inputs": done,
        "took": time.monotonic() - started,
        "memory": peak_memory() - before,
    }
    (folder / "result").write_text(json.dumps(result))
    return 0


def _limit(memory):
    """Limits the address space, far above the allowed memory, to protect the system."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        (line,) = (x for x in status.read_text().splitlines() if "VmSize" in x)
        most = int(line.split()[1]) * 1024 + 4 * memory * MIB
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
