"""Finds the files of images that an export names by where a server keeps them."""

import os
import re
import urllib.parse
from pathlib import PurePosixPath

from ram_tf.data.split import path_inside

# What Label Studio puts before the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")


class UploadedImages:
    """The files of a data folder, by their names.

    Args:
        folder: The folder, whose subfolders are searched, too.
    """

    def __init__(self, folder):
        self._folder = folder
        self._files = None

    def find(self, address, where):
        """Returns the path below the folder of an image's file.

        The file has the end of the address: `/data/upload/1/0123abcd-cat.jpg` may be
        `upload/1/0123abcd-cat.jpg`, `cat.jpg` or `photos/cat.jpg`. If there is none,
        the path is the address' name, and the image will be reported as missing.

        Args:
            address: The path, or the address on a server.
            where: Its place, for the error message.

        Raises:
            ValueError: Several files have the name, or the address has none.
        """
        path = _path_of(address)
        parts = PurePosixPath(path).parts
        if ".." in parts:
            parts = parts[-1:]
        short = _UPLOAD_PREFIX.sub("", parts[-1]) if parts else ""
        ends = [parts[i:] for i in range(len(parts))]
        ends = [*ends, *((*end[:-1], short) for end in ends)]
        for end in ends:
            if "/".join(end) in self._paths:
                return path_inside("/".join(end), where)
        for name in (parts[-1] if parts else "", short):
            found = self._names.get(name, ())
            if len(found) > 1:
                raise ValueError(
                    f"The image of {where} may be several files. Expected one of this "
                    f"name in the data folder. Received: {name!r}, "
                    f"{', '.join(sorted(found)[:3])}"
                )
            if found:
                return path_inside(found[0], where)
        return path_inside(short, where)

    @property
    def _paths(self):
        self._list()
        return self._files

    @property
    def _names(self):
        self._list()
        return self._by_name

    def _list(self):
        if self._files is not None:
            return
        self._files, self._by_name = set(), {}
        for parent, _, names in os.walk(self._folder, followlinks=False):
            below = os.path.relpath(parent, self._folder).replace(os.sep, "/")
            for name in names:
                path = name if below == "." else f"{below}/{name}"
                self._files.add(path)
                self._by_name.setdefault(name, []).append(path)


def _path_of(address):
    """Returns the path in an address, without a leading slash."""
    text = address.strip().replace("\\", "/")
    query = re.search(r"[?&]d=([^&]*)", text)
    if query:
        # /data/local-files/?d=photos/cat.jpg
        text = urllib.parse.unquote(query[1])
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        text = urllib.parse.unquote(re.sub(r"[?#].*", "", text).partition("://")[2])
    elif text.startswith("/data/"):
        text = urllib.parse.unquote(text)
    return re.sub(r"^[A-Za-z]:", "", text).strip("/")
