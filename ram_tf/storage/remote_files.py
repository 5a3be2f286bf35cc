"""Files of this machine, and of any storage that fsspec has a package for.

A path without a scheme is local, whatever characters are in it. One such as `s3://...`
is read and written through fsspec, with the package that this storage needs.
"""

import contextlib
import os
import re
import uuid

import fsspec

SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
WILDCARDS = re.compile(r"[*?[]")
# The parts of a pattern; a `]` that is the first character of a set belongs to it.
_PARTS = re.compile(r"\*\*|\[!?+.[^]]*\]|.", re.DOTALL)
_EXPRESSIONS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_remote(path):
    """Returns whether a path names its storage."""
    return SCHEME.match(path) is not None


def join(folder, name):
    """Returns the path of a file in a folder; `""` is the current one."""
    return f"{folder}{'' if folder.endswith('/') or not folder else '/'}{name}"


def open_file(path):
    """Opens a file for reading its bytes."""
    if not is_remote(path):
        return open(path, "rb")
    with _storage(path) as (storage, name):
        return storage.open(name)


def read(path):
    """Reads the bytes of a file."""
    if not is_remote(path):
        with open(path, "rb") as file:
            return file.read()
    with _storage(path) as (storage, name):
        return storage.cat_file(name)


def exists(path):
    """Returns whether there is a file or a folder."""
    if not is_remote(path):
        return os.path.exists(path)
    with _storage(path) as (storage, name):
        return storage.exists(name)


def make_folder(path):
    """Creates a folder and its parents, unless they exist."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)
        return
    with _storage(path) as (storage, name):
        storage.makedirs(name, exist_ok=True)


def write(path, content):
    """Writes a file that others see whole or not at all.

    Where files can be renamed, it is at first a file `partial-...` in the same folder,
    which a process that is killed may leave there.
    """
    if not is_remote(path):
        partial = _partial(path)
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, path)
        return
    with _storage(path) as (storage, name):
        if type(storage).mv is fsspec.AbstractFileSystem.mv:
            # It cannot rename, as stores of objects, whose objects appear as a whole.
            storage.pipe_file(name, content)
            return
        partial = _partial(name)
        storage.pipe_file(partial, content)
        storage.mv(partial, name)


def _partial(path):
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}partial-{uuid.uuid4().hex}-{name}"


def delete(path):
    """Deletes a file."""
    if not is_remote(path):
        os.remove(path)
        return
    with _storage(path) as (storage, name):
        storage.rm_file(name)


def list_files(folder):
    """Lists the files below a folder, through all levels but not through links.

    Args:
        folder: Path of the folder; `""` is the current one.

    Returns:
        Pairs of the path from the folder and the whole path, sorted; none if the folder
        does not exist.
    """
    names = _list_remote(folder) if is_remote(folder) else _list_local(folder)
    return [(name, join(folder, name)) for name in sorted(names)]


def _list_local(folder):
    start = folder or "."
    for root, _, names in os.walk(start):
        below = root[len(join(start, "")) :]
        yield from (join(below, name) for name in names)


def _list_remote(folder):
    with _storage(folder) as (storage, name):
        storage.invalidate_cache()  # others write there, too
        found = storage.find(name)
    start = join(name, "")
    return [path[len(start) :] for path in found if path.startswith(start)]


def fetch(path, folder):
    """Copies all files below a folder into a local one.

    Raises:
        OSError: There is no such folder, or it cannot be read.
    """
    found = list_files(path)
    if not found:
        raise FileNotFoundError(
            f"There is nothing to fetch. Expected a folder. Received: {path}"
        )
    for name, whole in found:
        copy = os.path.join(folder, name)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        with open(copy, "wb") as file:
            file.write(read(whole))


def match(pattern):
    """Lists the files that match a pattern.

    Args:
        pattern: A path in which `*` and `?` match parts of a name, `**` also folders,
            and `[...]` one of several characters or, after a `!`, any other.

    Returns:
        The paths, sorted; they begin as the pattern does.

    Raises:
        ValueError: It is no pattern, since a range of characters is damaged.
    """
    start = WILDCARDS.split(pattern, 1)[0]
    folder = start[: start.rfind("/") + 1]
    parts = _PARTS.findall(pattern[len(folder) :])
    try:
        expression = re.compile("".join(map(_to_expression, parts)), re.DOTALL)
    except re.error as error:
        raise ValueError(
            "The pattern is damaged. Expected [...] with characters or ranges such as "
            f"a-z. Received: {pattern} ({error})"
        ) from error
    found = list_files(folder)
    return [path for name, path in found if expression.fullmatch(name)]


def _to_expression(part):
    if part in _EXPRESSIONS:
        return _EXPRESSIONS[part]
    if len(part) == 1:
        return re.escape(part)
    inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
    if inner.startswith("!"):
        inner = f"^{inner[1:]}"
    elif inner.startswith("^"):
        inner = rf"\{inner}"
    return f"[{inner}]"


@contextlib.contextmanager
def _storage(path):
    """Yields a path's storage and its name there; all errors become an `OSError`."""
    try:
        yield fsspec.core.url_to_fs(path)
    except OSError:
        raise
    except Exception as error:  # each storage has errors of its own
        raise OSError(
            "A storage cannot be used. Expected one that fsspec knows, and the package "
            f"that it needs for it. Received: {path} ({error})"
        ) from error
