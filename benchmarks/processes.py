"""Trees of processes: their memory, and how they are killed."""

import contextlib
import os
import pathlib
import signal
import time

import psutil


def tree(root):
    """Lists a process and all that it has started, directly or not, by their IDs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(root).children(recursive=True)
        return [root, *(each.pid for each in below)]
    return [root]


def memory(roots):
    """The sum of the proportional set sizes of trees of processes, in MiB."""
    total = 0
    for process in {each for root in roots for each in tree(root)}:
        with contextlib.suppress(psutil.Error):  # It has ended in the meantime.
            total += psutil.Process(process).memory_full_info().pss
    return total / 2**20


def kill(started):
    """Kills a process with all that it has started, and waits for their end.

    Args:
        started: A `subprocess.Popen`; one that has ended is left as it is.
    """
    if started.poll() is not None:
        return
    found = tree(started.pid)
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    started.wait()
    while any(map(_is_running, found)):
        time.sleep(0.05)


def _is_running(process):
    with contextlib.suppress(OSError):
        place = pathlib.Path(f"/proc/{process}")
        state = (place / "stat").read_text().rpartition(")")[2].split()[0]
        # The files of a process stay open until its last thread has ended.
        return state != "Z" or len(list((place / "task").iterdir())) > 1
    return False
