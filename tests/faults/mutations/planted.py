"""Reads the planted faults."""

import pathlib
import tomllib
from typing import NamedTuple

FOLDER = pathlib.Path(__file__).parent


class Fault(NamedTuple):
    """A change of the code that a test must notice.

    Args:
        name: Its name. That of an equation of the ICCV 2017 paper begins with its
            number, as in `eq-4-`.
        area: The name of the file that lists it.
        file: The path of the file to change, from the root of the repository.
        old: The text to change, which occurs once in the file.
        new: The text in its place.
        test: The test that must fail, as `path::function`.
    """

    name: str
    area: str
    file: str
    old: str
    new: str
    test: str

    def applied_to(self, text):
        """Returns the text of the file with the fault; None if `old` is not in it once.

        >>> fault = Fault("a", "b", "c.py", old="1", new="2", test="d.py::e")
        >>> fault.applied_to("x = 1"), fault.applied_to("x = 11")
        ('x = 2', None)
        """
        if text.count(self.old) != 1:
            return None
        return text.replace(self.old, self.new)


def read_all():
    """Returns all `Fault`s, in the order of the files' names and of their entries."""
    return [
        Fault(name, path.stem, **entry)
        for path in sorted(FOLDER.glob("*.toml"))
        for name, entry in tomllib.loads(path.read_text("utf-8")).items()
    ]
