"""Many contents that lie one after another in a few large files."""

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DIGEST = 32  # bytes of a SHA-256


class FileRange(NamedTuple):
    """A part of a file.

    Args:
        path: The file.
        start: Its first byte.
        length: The number of bytes.
        digest: The SHA-256 of these bytes.
    """

    path: str
    start: int
    length: int
    digest: bytes

    def read(self) -> bytes:
        """Reads the bytes.

        Raises:
            ValueError: They are not those of the digest.
            FileNotFoundError: The file is missing.
        """
        content = self.read_head(self.length)
        if hashlib.sha256(content).digest() != self.digest:
            raise ValueError(
                "A file has changed or is cut off. Expected the "
                f"{self.length} bytes from {self.start} on that were written. "
                f"Received: {len(content)} others in {self.path}"
            )
        return content

    def read_head(self, count: int) -> bytes:
        """Reads the first bytes, at most `count`, without a check."""
        file = os.open(self.path, os.O_RDONLY)
        try:
            parts, start, end = [], self.start, self.start + min(count, self.length)
            while start < end and (part := os.pread(file, end - start, start)):
                parts.append(part)
                start += len(part)
            return b"".join(parts)
        finally:
            os.close(file)


class FileRanges(Sequence):
    """Parts of files in an order, which takes some 50 bytes for each.

    Args:
        paths: The files.
        files: `(n,)` the index into `paths` of each part.
        starts: `(n,)` the first byte of each.
        lengths: `(n,)` its number of bytes.
        digests: `(n, 32)` uint8, the SHA-256 of its bytes.
    """

    def __init__(self, paths, files, starts, lengths, digests):
        self.paths = tuple(paths)
        self.files = np.asarray(files, np.int32)
        self.starts = np.asarray(starts, np.int64)
        self.lengths = np.asarray(lengths, np.int64)
        self.digests = np.asarray(digests, np.uint8).reshape(-1, DIGEST)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return FileRange(
            self.paths[self.files[index]],
            int(self.starts[index]),
            int(self.lengths[index]),
            self.digests[index].tobytes(),
        )

    def take(self, rows):
        """Returns the parts at these indices, in this order."""
        return FileRanges(
            self.paths,
            self.files[rows],
            self.starts[rows],
            self.lengths[rows],
            self.digests[rows],
        )
