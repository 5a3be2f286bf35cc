"""Files that are whole: written beside and renamed, some of them with a checksum.

An npz file has checksums of its own. Weights and JSON have none, and a flipped bit
would be read as another number: they are sealed. The SHA-256 of `RUN/config.json`
stands in `RUN/checksums/config.json`, as `sha256sum` writes it. A file without one,
such as an older release has written, is read as it is.
"""

import contextlib
import hashlib
import os
import pathlib

FOLDER = "checksums"


def check_writable(*folders):
    """Raises an `OSError` where a folder, made or still to be made, is read-only."""
    for folder in folders:
        folder = pathlib.Path(folder).absolute()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise _unwritable(folder, f"{there}, which is not writable")


def make_folder(folder):
    """Makes a folder, and those that it is in, where they are missing.

    Raises:
        OSError: It cannot be made; names it.
    """
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder, received):
    return OSError(
        "A folder cannot be written. Expected room and permission for "
        f"{folder}. Received: {received}"
    )


@contextlib.contextmanager
def atomic_write(path):
    """Gives a path beside `path` to write to, and puts it in place when all is written.

    Whoever reads `path` sees the old or the new content, never half of it.

    Raises:
        OSError: It cannot be written; names it.
    """
    path = pathlib.Path(path)
    # Keras insists on the ending of its files.
    temporary = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:  # said already, of a file within
            raise
        raise OSError(
            "A file cannot be written. Expected room and permission for "
            f"{path}. Received: {error}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder, pattern="."):
    """Removes the files that killed processes were writing, and nobody else's.

    Args:
        folder: Where to look.
        pattern: Of the folders in it, as `pathlib.Path.glob` takes it.
    """
    for left in pathlib.Path(folder).glob(f"{pattern}/partial-[0-9]*-*"):
        process = left.name.split("-")[1]
        # An evaluation may be at work, which holds no lock.
        if left.is_file() and process.isdecimal() and not _at_work(int(process)):
            left.unlink()


def _at_work(process):
    """Whether another process of this number runs."""
    if process == os.getpid():
        return False  # our number may have been that of a killed one
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def write_with_checksum(path):
    """As `atomic_write`, and keeps a checksum of what was written."""
    path = pathlib.Path(path)
    with atomic_write(path) as temporary:
        yield temporary
        digest = fingerprint(temporary)
        # A process that is killed between the two renames leaves the old file, which
        # must not count as changed: both checksums stand there for that moment.
        _note(path, digest, *_noted(path))
    _note(path, digest)


def read(path):
    """Reads a sealed file.

    Returns:
        Its bytes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not as it was written.
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    _check(path, hashlib.sha256(content).hexdigest())
    return content


def add_checksum(path):
    """Keeps a checksum of a file that another program has written.

    Raises:
        OSError: It cannot be written; names it.
    """
    _note(pathlib.Path(path), fingerprint(path))


def check(path):
    """Raises a `ValueError` where a sealed file is not as it was written."""
    path = pathlib.Path(path)
    if _noted(path):
        _check(path, fingerprint(path))


def read_text(path):
    """Reads a sealed file of text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not as it was written, or no text.
    """
    try:
        return read(path).decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A file is no text. Expected UTF-8. Received: {path} ({error})"
        ) from error


def fingerprint(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path, digest):
    noted = _noted(path)
    if noted and digest not in noted:
        raise ValueError(
            "A file has changed since it was written. Expected the checksum of "
            f"{_place(path)}; remove that file where the change is meant. "
            f"Received: {path}"
        )


def _place(path):
    return path.parent / FOLDER / path.name


def _noted(path):
    try:
        lines = _place(path).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line.partition(" ")[0] for line in lines] or [""]


def _note(path, *digests):
    place = _place(path)
    place.parent.mkdir(exist_ok=True)
    with atomic_write(place) as temporary:
        temporary.write_text("".join(f"{digest}  {path.name}\n" for digest in digests))
