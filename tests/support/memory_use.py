"""Measures the memory that a part of a test takes."""

import pathlib

from fuzz.target import peak_memory

FORGET = pathlib.Path("/proc/self/clear_refs")


class Taken:
    """The process's peak memory in MiB, above that at construction.

    Only Linux can reset the peak; elsewhere that of earlier tests may hide it.
    """

    def __init__(self):
        if FORGET.exists():
            FORGET.write_text("5")
        self.before = peak_memory()

    @property
    def most(self):
        return peak_memory() - self.before
