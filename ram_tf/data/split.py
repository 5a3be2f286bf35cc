"""One split of a data set: its images, and what is known of them."""

import dataclasses
import hashlib
import json
import re
import reprlib
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

# Ours: each costs a byte an image, so that a column of captions, taken for one of
# labels, would fill the memory.
MAX_LABELS = 10_000
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split, in a fixed order, with their labels.

    Args:
        images: Paths of image files, or the encoded images themselves as `bytes`
            (the embedded digits, which have no files).
        names: What a report calls each image: its path below the data folder.
        labels: `(n, L)` int8; 1 present, 0 absent, -1 unknown (left out of loss and
            metrics).
        label_names: The `L` label names, in the order of the columns.
        boxes: Per image a dict from label name to a `(m, 4)` float32 array of
            `ymin, xmin, ymax, xmax`, fractions of the image; an empty dict where
            nothing was boxed. None where the data set has no boxes at all.
        notes: Sentences on what was left out on the way and how many, for the log.
        name: What the data set calls the split.
        proposals: `(n, K, 4)` float32 `ymin, xmin, ymax, xmax`, fractions of the image:
            the regions to look at, where a model is not to find them itself (see
            `ram_tf.runs.proposals`); else None.
    """

    images: tuple[str | bytes, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    label_names: tuple[str, ...]
    boxes: tuple[dict[str, np.ndarray], ...] | None = None
    notes: tuple[str, ...] = ()
    name: str = ""
    proposals: np.ndarray | None = None

    def __post_init__(self):
        expected = (len(self.images), len(self.label_names))
        if self.labels.shape != expected or len(self.names) != len(self.images):
            raise ValueError(
                "A split needs one name and one row of labels per image. Expected "
                f"labels of shape {expected} and {len(self.images)} names. Received: "
                f"labels of shape {self.labels.shape} and {len(self.names)} names"
            )

    def __len__(self):
        return len(self.images)

    @property
    def digest(self):
        """A hash that tells names and labels from others: hexadecimal digits."""
        text = json.dumps([self.names, self.labels.tolist()])
        return hashlib.sha256(text.encode()).hexdigest()

    def take(self, indices):
        """Returns the split of these images, in this order."""
        rows = np.asarray(indices, dtype=int)
        return dataclasses.replace(
            self,
            images=tuple(self.images[i] for i in indices),
            names=tuple(self.names[i] for i in indices),
            labels=self.labels[rows],
            boxes=self.boxes and tuple(self.boxes[i] for i in indices),
            proposals=None if self.proposals is None else self.proposals[rows],
        )

    def hold_out(self, fraction, seed):
        """Divides the split by chance into what remains and what is held out.

        Both keep the order of the images.

        Args:
            fraction: The share of images to hold out, between 0 and 1; at least one
                image is held out and at least one remains.
            seed: Of the draw; the same seed holds out the same images.

        Returns:
            The two splits `(rest, held)`.

        Raises:
            ValueError: The split has fewer than two images.
        """
        if len(self) < 2:
            raise ValueError(
                "Images can be held out of two or more only. "
                f"Received: a split of {len(self)}"
            )
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        held = np.zeros(len(self), bool)
        held[np.random.default_rng(seed).permutation(len(self))[:count]] = True
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))


def check_label_names(names, where):
    """Raises a `ValueError` where names cannot be those of labels.

    A file of labels has one a line, so none may have several; and every image has a
    byte for each label, so there may be no more than `MAX_LABELS`.

    Args:
        names: Strings, or what a file has in their place.
        where: What the error calls their place.
    """
    if len(names) > MAX_LABELS:
        raise ValueError(
            f"There are too many labels in {where}. Expected {MAX_LABELS} at most. "
            f"Received: {len(names)}"
        )
    seen = set()
    for name in names:
        usable = isinstance(name, str) and name.strip() and _is_text(name)
        if not usable or len(name.splitlines()) > 1 or name in seen:
            raise ValueError(
                f"A label in {where} cannot be used. Expected names of one line each, "
                f"none of them twice. Received: {reprlib.repr(name)}"
            )
        seen.add(name)


def path_inside(path, where):
    """Returns a path from a data set's file in one spelling.

    It is judged by what it says: a symbolic link in the data folder is the user's own,
    wherever it leads.

    Args:
        path: What the file says.
        where: What the error calls its place.

    Raises:
        ValueError: It leads out of the data folder, or is no path at all.
    """
    inside = PurePosixPath(str(path).replace("\\", "/"))
    windows = PureWindowsPath(str(path))
    outside = ".." in inside.parts or inside.is_absolute() or windows.drive
    usable = isinstance(path, str) and inside.parts and _is_text(path)
    if not usable or outside:
        raise ValueError(
            f"The image of {where} does not lie in the data folder. Expected a path "
            f"relative to it, without '..'. Received: {reprlib.repr(path)}"
        )
    return str(inside)


def file_names(paths, suffix=None):
    """Names a file for each path by its last part, with a number where two would meet.

    Args:
        paths: Strings or paths.
        suffix: What each name ends in, such as ".png"; None for the path's own.

    Returns:
        A list of names, all different.
    """
    taken, names = set(), []
    for path in map(PurePosixPath, paths):
        ending = path.suffix if suffix is None else suffix
        name, number = path.stem + ending, 1
        while name in taken:
            number += 1
            name = f"{path.stem}-{number}{ending}"
        taken.add(name)
        names.append(name)
    return names


def _is_text(name):
    """Whether it can be the name of a file: no NUL, and no half of a character."""
    return not _NO_TEXT.search(name)


def epoch_order(count, seed, epoch):
    """The order in which an epoch sees `count` images: a permutation of all of them.

    It depends on nothing but its arguments, so a resumed run sees what an uninterrupted
    one would have seen, and the names of any batch can be told afterwards.
    """
    return np.random.default_rng((seed, epoch)).permutation(count)
