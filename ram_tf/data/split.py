"""Defines `Split`, the images of a dataset's split with labels and boxes."""

import dataclasses
import hashlib
import itertools
import json
import re
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Self

import numpy as np

from ram_tf.data import stratification
from ram_tf.storage.file_ranges import FileRange, FileRanges

if TYPE_CHECKING:  # it loads TensorFlow
    from ram_tf.data.pixel_cache import CachedPixels

# Ours: each label needs a byte per image, so that a column of captions that is read as
# labels would fill the memory.
MAX_LABELS = 10_000
ROWS_AT_ONCE = 10_000
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split, in a fixed order, with their labels.

    Args:
        images: Paths of image files, encoded images as `bytes` (digits), or
            `FileRanges` of encoded images in shards.
        names: The images' names in reports: their paths below the data folder.
        labels: `(n, L)` int8; 1 present, 0 absent, -1 unknown (left out of loss and
            metrics).
        label_names: The `L` label names, in the order of the columns.
        boxes: Per image a dict from label name to a `(m, 4)` float32 array of
            `ymin, xmin, ymax, xmax`, fractions of the image; empty for an image without
            boxes. None if the dataset has no boxes.
        notes: Sentences for the log on what was left out.
        name: The dataset's name of the split.
        proposals: `(n, K, 4)` float32 `ymin, xmin, ymax, xmax`, fractions of the image:
            the regions of a model that does not find them itself (see
            `ram_tf.runs.splits.proposals`); otherwise None.
        others: `(n,)` int8, the value of all labels that are not in `label_names`: 0
            where an image's labels are listed by name, so that others are absent; -1
            where they were not annotated. None if it is -1 for all images.
        greys: `(n, 16, 18)` uint8, the images in small (see `ram_tf.data.duplicates`);
            None if they have not been read yet.
        pixels: The decoded images (see `ram_tf.data.pixel_cache.CachedPixels`); None if
            they are decoded whenever they are read.
        unreadable: The name and the `image_faults.Fault` of each image that was left
            out because it cannot be read.
        scanned: The `max_pixels` and `truncated` with which all images were decoded
            once already, so that they need not be again before training; None if they
            were not.
    """

    images: Sequence[str | bytes | FileRange]
    names: tuple[str, ...]
    labels: np.ndarray
    label_names: tuple[str, ...]
    boxes: tuple[dict[str, np.ndarray], ...] | None = None
    notes: tuple[str, ...] = ()
    name: str = ""
    proposals: np.ndarray | None = None
    others: np.ndarray | None = None
    greys: np.ndarray | None = None
    pixels: "CachedPixels | None" = None
    unreadable: tuple[tuple[str, tuple[str, str]], ...] = ()
    scanned: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        expected = (len(self.images), len(self.label_names))
        if self.labels.shape != expected or len(self.names) != len(self.images):
            raise ValueError(
                "A split needs one name and one row of labels per image. Expected "
                f"labels of shape {expected} and {len(self.images)} names. Received: "
                f"labels of shape {self.labels.shape} and {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """A hash of the names and labels, in hexadecimal digits."""
        digest = hashlib.sha256()
        # The text of `json.dumps([names, labels])`, in pieces: as a whole it would take
        # gigabytes for a million images.
        names, labels = _pieces(self.names), _pieces(self.labels)
        for text in itertools.chain(["[["], names, ["], ["], labels, ["]]"]):
            digest.update(text.encode())
        return digest.hexdigest()

    def take(self, indices: Sequence[int] | np.ndarray) -> Self:
        """Returns a split of the images at these indices, in this order."""
        rows = np.asarray(indices, dtype=int)
        images = self.images
        return dataclasses.replace(
            self,
            images=images.take(rows)
            if isinstance(images, FileRanges)
            else tuple(images[i] for i in indices),
            names=tuple(self.names[i] for i in indices),
            labels=self.labels[rows],
            boxes=None if self.boxes is None else tuple(self.boxes[i] for i in indices),
            proposals=None if self.proposals is None else self.proposals[rows],
            others=None if self.others is None else self.others[rows],
            greys=None if self.greys is None else self.greys[rows],
            pixels=None if self.pixels is None else self.pixels.take(rows),
        )

    def hold_out(
        self, fraction: float, seed: int, division: str = "stratified"
    ) -> tuple[Self, Self]:
        """Divides the split into the remaining and the held-out images.

        Both keep the order of the images.

        Args:
            fraction: The fraction of images to hold out, in [0, 1]; at least one image
                is held out and at least one remains.
            seed: The same seed holds out the same images.
            division: One of `dataset_names.DIVISIONS`.

        Returns:
            The two splits `(rest, held)`.

        Raises:
            ValueError: The split has fewer than two images.
        """
        if len(self) < 2:
            raise ValueError(
                "No images can be held out. Expected a split of two or more. "
                f"Received: a split of {len(self)}"
            )
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        if division == "stratified":
            counts = len(self) - count, count
            rest, held = stratification.divide(self.labels, counts, seed)
        else:
            order = np.random.default_rng(seed).permutation(len(self))
            rest, held = np.sort(order[count:]), np.sort(order[:count])
        return self.take(rest), self.take(held)

    def with_labels(self, label_names: Iterable[str]) -> Self:
        """Returns the split with the labels of a model, in the model's order.

        A label that the data do not have is absent from images whose labels are listed
        by name, and unknown otherwise. A label that the model does not have is left out
        and named in the notes.

        Args:
            label_names: The model's labels.

        Raises:
            ValueError: The data have none of them.
        """
        label_names = tuple(label_names)
        if label_names == self.label_names:
            return self
        columns = {name: i for i, name in enumerate(self.label_names)}
        known = set(label_names)
        extra = [name for name in self.label_names if name not in known]
        if len(extra) == len(self.label_names):
            raise ValueError(
                "The labels of the data are not those of the model. Expected some of "
                f"its {len(label_names)}: {shortened(label_names)}. Received: only "
                f"{shortened(extra)}"
            )
        others = self.others
        if others is None:
            others = np.full(len(self), -1, np.int8)
        labels = np.repeat(others[:, None], len(label_names), axis=1).astype(np.int8)
        for i, name in enumerate(label_names):
            if name in columns:
                labels[:, i] = self.labels[:, columns[name]]
        notes = list(self.notes)
        if extra:
            found = (self.labels[:, [columns[name] for name in extra]] > 0).any(1).sum()
            notes.append(
                f"{len(extra)} of {len(self.label_names)} labels are not among the "
                f"{len(label_names)} of the model and are left out, present in {found} "
                f"images: {shortened(extra)}"
            )
        missing = [name for name in label_names if name not in columns]
        if missing:
            listed = int((others == 0).sum())
            how = [
                f"{how} in {count} images"
                for how, count in (("absent", listed), ("unknown", len(self) - listed))
                if count
            ]
            notes.append(
                f"{len(missing)} of the model's {len(label_names)} labels do not occur "
                f"in the data and are taken as {' and '.join(how)}: "
                f"{shortened(missing)}"
            )
        boxes = self.boxes
        if boxes is not None:
            boxes = tuple(
                {name: found for name, found in each.items() if name in known}
                for each in boxes
            )
        return dataclasses.replace(
            self,
            labels=labels,
            label_names=label_names,
            boxes=boxes,
            notes=tuple(notes),
        )


def _pieces(rows):
    """Yields the JSON of a list in pieces, without the brackets around it."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        text = _label_text(part) if isinstance(part, np.ndarray) else json.dumps(part)
        yield ", " * (start > 0) + text[1:-1]


def _label_text(labels):
    """Returns the text of `json.dumps(labels.tolist())`, in a tenth of the time."""
    rows, columns = labels.shape
    if not columns or np.abs(labels).max() > 9:
        return json.dumps(labels.tolist())
    # In each row "[", "-0, " for each label, of which the last is "-0],", and a space.
    text = np.empty((rows, 4 * columns + 2), np.uint8)
    text[:] = np.frombuffer(f"[{'-0, ' * (columns - 1)}-0], ".encode(), np.uint8)
    text[:, 2::4] += np.abs(labels).astype(np.uint8)
    kept = np.ones(text.shape, bool)
    kept[:, 1:-1:4] = labels < 0  # the signs
    return f"[{text[kept].tobytes().decode()[:-2]}]"


def shortened(names, most=12):
    """Returns names for a message, of many only the first and how many there are."""
    names = [reprlib.repr(name)[1:-1] if len(name) > 60 else name for name in names]
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def check_label_names(names, where):
    """Raises a `ValueError` for label names that cannot be used.

    A name has only one line, as in `labels.txt`, and occurs once. There are at most
    `MAX_LABELS`.

    Args:
        names: The values of a file that should be strings.
        where: Their place, for the error message.
    """
    if len(names) > MAX_LABELS:
        raise ValueError(
            f"There are too many labels in {where}. Expected {MAX_LABELS} at most. "
            f"Received: {len(names)}"
        )
    earlier = set()
    for name in names:
        usable = isinstance(name, str) and name.strip() and _is_text(name)
        if not usable or len(name.splitlines()) > 1 or name in earlier:
            raise ValueError(
                f"A label in {where} cannot be used. Expected names of one line each, "
                f"and each name once. Received: {reprlib.repr(name)}"
            )
        earlier.add(name)


def path_inside(path, where):
    """Returns a path from a dataset's file in normalised spelling.

    Only the path's text is checked: a symbolic link in the data folder may lead out.

    Args:
        path: The value of a file that should be a path in the data folder.
        where: Its place, for the error message.

    Raises:
        ValueError: The path leads out of the data folder, or is not a path.
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
    """Returns a unique file name for each path: its last part, numbered if needed.

    Args:
        paths: Strings or paths.
        suffix: The names' suffix, such as ".png"; None for each path's own.

    Returns:
        A list of names.
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
    """Whether a file name can contain this text: no NUL and no lone surrogate."""
    return not _NOT_TEXT.search(name)


def epoch_order(count, seed, epoch):
    """Returns the order of an epoch's images: a permutation of `count` indices.

    It depends on its arguments only, so that a resumed run processes the same batches
    as an uninterrupted one.
    """
    return np.random.default_rng((seed, epoch)).permutation(count)
