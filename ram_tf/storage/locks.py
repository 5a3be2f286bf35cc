"""One process at a time: locks that end with the process that holds them."""

import contextlib
import fcntl
import os
import sys

# Open files of this process by place: locks are its own, and held until it ends. None
# where the file system has no locks.
_held = {}


def take(path):
    """Takes a lock for this process, until `release` or the end of the process.

    Args:
        path: Of the lock's file, which is created where it is missing and says which
            process has it.

    Returns:
        Whether it is locked: some network file systems have no locks, which is said.

    Raises:
        BlockingIOError: Another process has it.
        OSError: The file cannot be written.
    """
    place = os.path.realpath(path)
    if place in _held:
        return _held[place] is not None
    while True:
        file = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 20).decode().strip()
            os.close(file)
            raise BlockingIOError(
                f"Another process is at work here. Expected it to have ended. "
                f"Received: {path}, held by process {holder or 'unknown'}"
            ) from None
        except OSError as error:
            os.close(file)
            _held[place] = None
            print(f"not locked: {path} ({error})", file=sys.stderr)
            return False
        if _is_at(file, place):
            break
        # Whoever had it has removed it since we opened it: the next one is another.
        os.close(file)
    _held[place] = file
    with contextlib.suppress(OSError):  # a full disk; it only says who has it
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
    return True


def release(path):
    """Gives a lock of this process back and removes its file, if that is still ours."""
    place = os.path.realpath(path)
    if place not in _held:
        return
    file = _held.pop(place)
    # While we have it nobody else removes it who asks for the lock first.
    if file is None or _is_at(file, place):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
    if file is not None:
        os.close(file)


def _is_at(file, place):
    """Whether an open file is the one that has this path, not one removed since."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(place))
    except FileNotFoundError:
        return False
