"""Locks between processes, which end with the process that holds them."""

import contextlib
import fcntl
import os
import sys

# From path to the open file of each lock that this process holds; None if the file
# system has no locks.
_held = {}


def take(path):
    """Takes a lock for this process, until `release` or the end of the process.

    Args:
        path: The lock's file, created if missing; contains the holder's process ID.

    Returns:
        Whether it is locked. Some network file systems have no locks, which is reported
        on stderr.

    Raises:
        BlockingIOError: Another process holds the lock.
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
                "Another process is at work here. Expected it to have ended. "
                f"Received: {path}, held by process {holder or 'unknown'}"
            ) from None
        except OSError as error:
            os.close(file)
            _held[place] = None
            print(f"not locked: {path} ({error})", file=sys.stderr)
            return False
        if _is_same_file(file, place):
            break
        # The holder removed the file after we opened it: there may be a new one.
        os.close(file)
    _held[place] = file
    with contextlib.suppress(OSError):  # a full disk; the ID is only for messages
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
    return True


def release(path):
    """Releases a lock of this process and removes its file, if still its own."""
    place = os.path.realpath(path)
    if place not in _held:
        return
    file = _held.pop(place)
    # Removed before it is closed: while we hold the lock, nobody else removes the file.
    if file is None or _is_same_file(file, place):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
    if file is not None:
        os.close(file)


def _is_same_file(file, place):
    """Whether an open file is still the one at this path, and not a removed one."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(place))
    except FileNotFoundError:
        return False
