"""Finds image files: in folders, and in lists of file names."""

import collections
import os
import pathlib
import sys
from typing import NamedTuple

from ram_tf.data.images import conversion

OF_TENSORFLOW = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
ENDINGS = (*OF_TENSORFLOW, *(e for own in conversion.ENDINGS.values() for e in own))
NAMED = 3  # files of a kind that a note names
BYTE_ORDERS = (b"\xff\xfe", b"\xfe\xff")  # begin a text in UTF-16


class Found(NamedTuple):
    """The result of a search.

    Args:
        paths: The files in order; and, as they were given, paths that do not exist and
            folders without images.
        notes: Sentences on what was passed over.
    """

    paths: list[pathlib.Path]
    notes: list[str]


def search(paths):
    """Finds image files.

    Args:
        paths: Files, taken as they are, and folders, searched for files with one of the
            `ENDINGS` in any letter case, through all levels and links.

    Returns:
        The `Found`; the files of a folder are sorted.
    """
    found, notes = [], []
    for path in map(pathlib.Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        walk = _Walk(path)
        found += sorted(walk.files) or [path]
        notes += walk.notes()
    return Found(found, notes)


def find_images(paths):
    """Lists image files as `search` does, and prints its notes.

    Returns:
        A list of paths.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no image.
    """
    found = search(paths)
    print_notes(found)
    for path in found.paths:
        if path.is_dir():
            raise FileNotFoundError(
                "The folder holds no images. Expected files ending in "
                f"{', '.join(ENDINGS)}. Received: {path}"
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no such image. Expected a file or a folder. Received: {path}"
            )
    return found.paths


def print_notes(found):
    """Prints the notes of a search on stderr."""
    for note in found.notes:
        print(note, file=sys.stderr)


def parse_list(content):
    """Reads a list of file names, one a line.

    Lines may end as on Windows, and the text may begin with a byte order mark.

    Args:
        content: The bytes of the list, in UTF-8, the system's encoding, or UTF-16.

    Returns:
        The names, without empty lines.

    Raises:
        ValueError: The list is damaged UTF-16.
    """
    if content.startswith(BYTE_ORDERS):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError as error:
            raise ValueError(
                "The list of images cannot be read. Expected UTF-16, which its first "
                f"bytes announce, or UTF-8. Received: {error}"
            ) from error
    content = content.removeprefix(b"\xef\xbb\xbf")
    return [_name(line) for line in content.split(b"\n") if line.strip()]


def _name(line):
    name = os.fsdecode(line)
    # Linux allows a carriage return in a name, too.
    if name.endswith("\r") and not os.path.lexists(name):
        return name.rstrip("\r")
    return name


class _Walk:
    """The search of one folder and of all that it holds or links to."""

    def __init__(self, folder):
        self.folder = folder
        self.files = []
        self.passed = collections.defaultdict(list)  # ending -> names
        self.dead, self.closed, self.again = [], [], []
        waiting, linked = [folder], []
        seen = set()
        # Links come last, so that files are listed by their own folders if possible.
        while waiting or linked:
            path = waiting.pop() if waiting else linked.pop(0)
            try:
                state = path.stat()
                if (state.st_dev, state.st_ino) in seen:
                    self.again.append(path)
                    continue
                seen.add((state.st_dev, state.st_ino))
                with os.scandir(path) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError:
                self.closed.append(path)
                continue
            for entry in listed:
                self._sort_in(entry, waiting, linked)

    def _sort_in(self, entry, waiting, linked):
        path = pathlib.Path(entry.path)
        try:
            if entry.is_dir():
                (linked if entry.is_symlink() else waiting).append(path)
                return
            is_file = entry.is_file()
        except OSError:
            is_file = False
        if not is_file:
            self.dead.append(path)
        elif path.suffix.lower() in ENDINGS:
            self.files.append(path)
        else:
            self.passed[path.suffix.lower()].append(path)

    def notes(self):
        """Says what was passed over, in a sentence each."""
        if not self.files:
            yield f"{self.folder}: no images, which end in {', '.join(ENDINGS)}"
        if self.passed:
            kinds = sorted(self.passed.items(), key=lambda kind: -len(kind[1]))
            counts = ", ".join(
                f"{len(paths)} {ending or 'without an ending'} ({_some(paths)})"
                for ending, paths in kinds[:20]
            )
            more = f", {len(kinds) - 20} other kinds" if len(kinds) > 20 else ""
            total = sum(map(len, self.passed.values()))
            yield (
                f"{self.folder}: passed over {total} files with other endings than "
                f"those of images: {counts}{more}"
            )
        for paths, what in (
            (self.dead, "links that lead nowhere, or devices"),
            (self.closed, "folders that cannot be opened"),
            (self.again, "links to folders that are searched already"),
        ):
            if paths:
                yield f"{self.folder}: passed over {len(paths)} {what}: {_some(paths)}"


def _some(paths):
    more = ", ..." if len(paths) > NAMED else ""
    return ", ".join(path.name for path in paths[:NAMED]) + more
