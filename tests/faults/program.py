"""Starts the scripts as processes that can be watched and killed.

Loading TensorFlow takes seconds in which a fault can do no harm. Processes are
therefore forked from a server that has loaded it (`loaded`); `start_script` starts a
script as users do.
"""

import multiprocessing
import os
import pathlib
import resource
import runpy
import subprocess
import sys
import time

from tests.faults.case import FailedError

ROOT = pathlib.Path(__file__).parents[2]
TIMEOUT = 300  # seconds after which a script has failed

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.loaded"])


class ScriptProcess:
    """A running script.

    Args:
        script: The name of the script.
        arguments: Its command line.
        log: A path; the output goes to `log.out` and `log.err`.
        largest: The largest size of a file in bytes, or None.
    """

    def __init__(self, script, arguments, log, largest=None):
        self.logs = [log.with_suffix(".out"), log.with_suffix(".err")]
        for path in self.logs:
            path.write_bytes(b"")
        self.process = _context.Process(
            target=_run, args=(script, [*map(str, arguments)], self.logs, largest)
        )
        self.process.start()

    def wait(self, seconds=TIMEOUT):
        """Returns the exit status; None if it still runs after these seconds."""
        self.process.join(seconds)
        if self.process.exitcode is None and seconds == TIMEOUT:
            self.kill()
            raise FailedError(f"no end after {TIMEOUT} s: {self.output[-200:]}")
        return self.process.exitcode

    def wait_for(self, text):
        """Waits until the script has printed a text."""
        end = time.monotonic() + TIMEOUT
        while text not in self.output:
            if self.wait(0.02) is not None or time.monotonic() > end:
                self.kill()
                raise FailedError(f"never printed {text!r}: {self.errors[-300:]}")

    def kill(self):
        """Kills the script as `kill -9` does, and returns its exit status."""
        self.process.kill()
        return self.wait()

    @property
    def output(self):
        return self.logs[0].read_text(errors="replace")

    @property
    def errors(self):
        return self.logs[1].read_text(errors="replace")


def _run(script, arguments, logs, largest):
    for number, path in enumerate(logs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    if largest is not None:
        # Python ignores the signal, so writes fail with an error.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    path = str(_path(script))
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def start_script(script, arguments, environment=None):
    """Starts a script as a new process, with all output in a pipe, as text."""
    return subprocess.Popen(
        [
            sys.executable,
            "-u",
            str(_path(script)),
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
