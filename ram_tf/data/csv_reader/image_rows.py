"""`ImageRows`: what a table of images says, whatever program wrote it."""

from typing import NamedTuple

import numpy as np


class ImageRow(NamedTuple):
    """An image and its labels.

    Args:
        image: Its path below the data folder.
        marks: From a label to 1, 0 or -1.
        default: The value of all other labels.
        split: The split that the file names for it; None if it names none.
        boxes: From a label to a `(m, 4)` array; None if the file has no boxes.
    """

    image: str
    marks: dict[str, int]
    default: int
    split: str | None = None
    boxes: dict[str, np.ndarray] | None = None


class ImageRows(NamedTuple):
    """The rows of a file.

    Args:
        names: From each label to the place that first lists it, None for a label with
            a column of its own.
        rows: A list of `ImageRow`.
        notes: Sentences for the log.
    """

    names: dict[str, str | None]
    rows: list[ImageRow]
    notes: tuple[str, ...] = ()
