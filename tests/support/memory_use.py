"""The memory that a part of a test takes."""

import pathlib

from fuzz.target import peak_memory

FORGET = pathlib.Path("/proc/self/clear_refs")


class Taken:
    """The most MiB that the process has had since, above what it had then.

    Elsewhere than on Linux what earlier tests took is not forgotten, and may hide it.
    """

    def __init__(self):
        if FORGET.exists():
            FORGET.write_text("5")
        self.before = peak_memory()

    @property
    def most(self):
        return peak_memory() - self.before
