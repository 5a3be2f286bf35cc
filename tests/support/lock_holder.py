"""Starts another process that holds a lock."""

import contextlib
import subprocess
import sys

from tests.support.paths import ROOT


@contextlib.contextmanager
def at_work(path):
    """Runs a process that holds the lock of a file, and yields the process."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys\n"
            "from ram_tf.storage import locks\n"
            "locks.take(sys.argv[1])\n"
            "print(flush=True)\n"
            "sys.stdin.read()\n",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        process.stdout.readline()
        yield process
        process.kill()
