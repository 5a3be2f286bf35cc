"""A life of one of the scripts: started, watched, killed.

TensorFlow takes seconds to load, in which nothing happens that a fault could harm. So
lives are forked from a server that has loaded it and done nothing else; `alone` starts
a script as users do.
"""

import multiprocessing
import os
import pathlib
import resource
import runpy
import subprocess
import sys
import time

from tests.faults.case import NotHeldError

ROOT = pathlib.Path(__file__).parents[2]
LONGEST = 300  # seconds of a life: a program that hangs has failed

_lives = multiprocessing.get_context("forkserver")
_lives.set_forkserver_preload(["tests.faults.loaded"])


class Life:
    """A script at work.

    Args:
        script: Its name.
        arguments: Its command line.
        log: A path; the output goes to `log.out` and `log.err`.
        largest: Bytes that a file may have, as if the disk were full; None for any.
    """

    def __init__(self, script, arguments, log, largest=None):
        self.logs = [log.with_suffix(".out"), log.with_suffix(".err")]
        for path in self.logs:
            path.write_bytes(b"")
        self.process = _lives.Process(
            target=_live, args=(script, [*map(str, arguments)], self.logs, largest)
        )
        self.process.start()

    def wait(self, seconds=LONGEST):
        """Its exit status; None where it is still at work after these seconds."""
        self.process.join(seconds)
        if self.process.exitcode is None and seconds == LONGEST:
            self.kill()
            raise NotHeldError(f"no end after {LONGEST} s: {self.output[-200:]}")
        return self.process.exitcode

    def wait_for(self, text):
        """Waits until it has printed a text."""
        end = time.monotonic() + LONGEST
        while text not in self.output:
            if self.wait(0.02) is not None or time.monotonic() > end:
                self.kill()
                raise NotHeldError(f"never printed {text!r}: {self.errors[-300:]}")

    def kill(self):
        """Kills it as `kill -9` does, and returns its exit status."""
        self.process.kill()
        return self.wait()

    @property
    def output(self):
        return self.logs[0].read_text(errors="replace")

    @property
    def errors(self):
        return self.logs[1].read_text(errors="replace")


def _live(script, arguments, logs, largest):
    for number, path in enumerate(logs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    if largest is not None:
        # Python ignores the signal that would come with the error.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    path = str(_path(script))
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def alone(script, arguments, environment=None):
    """A script as a process of its own, its output in pipes as text."""
    return subprocess.Popen(
        [
            sys.executable,
            "-u",
            str(ROOT / "scripts" / f"{script}.py"),
            *map(str, arguments),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _path(script):
    return ROOT / "scripts" / f"{script}.py"
