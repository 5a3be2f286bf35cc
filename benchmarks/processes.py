"""Trees of processes: their memory, and how they are killed."""

import contextlib
import os
import pathlib
import signal
import time


def tree(root):
    """Lists a process and all that it has started, directly or not, by their IDs."""
    parents = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It has ended in the meantime.
            # The name before it may contain spaces and parentheses.
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(process.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found


def memory(roots):
    """The sum of the proportional set sizes of trees of processes, in MiB."""
    total = 0
    for process in {each for root in roots for each in tree(root)}:
        with contextlib.suppress(OSError, IndexError):
            rollup = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(rollup.split("\nPss:")[1].split()[0])
    return total / 1024


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
