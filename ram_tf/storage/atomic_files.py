"""Writes files atomically, by renaming a temporary file, some with a checksum.

npz files contain checksums of their own. Weights and JSON do not, and a flipped bit
would be read as another number, so that their checksums are kept in files: the SHA-256
of `RUN/config.json` is in `RUN/checksums/config.json`, in the format of `sha256sum`. A
file without one, such as those of older releases, is read without a check.
"""

import contextlib
import hashlib
import os
import pathlib

FOLDER = "checksums"


def check_writable(*folders):
    """Raises an `OSError` if a folder is not writable, or cannot be created."""
    for folder in folders:
        folder = pathlib.Path(folder).absolute()
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise _unwritable(folder, f"{existing}, which is not writable")


def make_folder(folder):
    """Creates a folder and its missing parents.

    Raises:
        OSError: The folder cannot be created; the message names it.
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
    """Yields a temporary path to write to, and renames it to `path` at the end.

    Other processes read either the old or the new content, never a part of it.

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    path = pathlib.Path(path)
    # The name's ending stays, as Keras checks it.
    temporary = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:  # raised here for an inner file
            raise
        raise OSError(
            "A file cannot be written. Expected room and permission for "
            f"{path}. Received: {error}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a folder that is not writable
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder, pattern="."):
    """Removes the temporary files of processes that have ended.

    Args:
        folder: The folder to search.
        pattern: A `pathlib.Path.glob` pattern of its subfolders to search.
    """
    for left in pathlib.Path(folder).glob(f"{pattern}/partial-[0-9]*-*"):
        process = left.name.split("-")[1]
        # A running evaluation holds no lock.
        if left.is_file() and process.isdecimal() and not _is_running(int(process)):
            left.unlink()


def _is_running(process):
    """Whether another process with this ID is running."""
    if process == os.getpid():
        return False  # a process that was killed may have had our ID
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def write_with_checksum(path):
    """Writes a file as `atomic_write` does, and then its checksum."""
    path = pathlib.Path(path)
    with atomic_write(path) as temporary:
        yield temporary
        digest = fingerprint(temporary)
        # A process that is killed between the two renames leaves the old file, which
        # must still be valid: until then both checksums are listed.
        _write_checksums(path, digest, *_read_checksums(path))
    _write_checksums(path, digest)


def read(path):
    """Reads a file's bytes and compares them with its checksum, if it has one.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has changed since it was written.
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    _check_digest(path, hashlib.sha256(content).hexdigest())
    return content


def add_checksum(path):
    """Writes the checksum of a file that other code has written.

    Raises:
        OSError: The checksum cannot be written; the message names its file.
    """
    _write_checksums(pathlib.Path(path), fingerprint(path))


def check(path):
    """Raises a `ValueError` if a file with a checksum has changed."""
    path = pathlib.Path(path)
    if _read_checksums(path):
        _check_digest(path, fingerprint(path))


def read_text(path):
    """Reads a text file as `read` does.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has changed since it was written, or is not UTF-8.
    """
    try:
        return read(path).decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A file is not text. Expected UTF-8. Received: {path} ({error})"
        ) from error


def fingerprint(path):
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(path, digest):
    expected = _read_checksums(path)
    if expected and digest not in expected:
        raise ValueError(
            "A file has changed since it was written. Expected the checksum of "
            f"{_checksum_file(path)}; remove that file if the change is intended. "
            f"Received: {path}"
        )


def _checksum_file(path):
    return path.parent / FOLDER / path.name


def _read_checksums(path):
    try:
        lines = _checksum_file(path).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line.partition(" ")[0] for line in lines] or [""]


def _write_checksums(path, *digests):
    file = _checksum_file(path)
    file.parent.mkdir(exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_text("".join(f"{digest}  {path.name}\n" for digest in digests))
