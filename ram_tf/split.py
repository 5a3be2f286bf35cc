"""One split of a data set: its images, and what is known of them."""

import dataclasses
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np


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
            `ram_tf.proposals`); else None.
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


def path_inside(path, where):
    """Returns a path from a data set's file in one spelling.

    Args:
        path: What the file says.
        where: What the error calls its place.

    Raises:
        ValueError: It leads out of the data folder, or is no path at all.
    """
    inside = PurePosixPath(str(path).replace("\\", "/"))
    windows = PureWindowsPath(str(path))
    outside = ".." in inside.parts or inside.is_absolute() or windows.drive
    if not isinstance(path, str) or not inside.parts or outside:
        raise ValueError(
            f"The image of {where} does not lie in the data folder. Expected a path "
            f"relative to it, without '..'. Received: {path!r}"
        )
    return str(inside)


def epoch_order(count, seed, epoch):
    """The order in which an epoch sees `count` images: a permutation of all of them.

    It depends on nothing but its arguments, so a resumed run sees what an uninterrupted
    one would have seen, and the names of any batch can be told afterwards.
    """
    return np.random.default_rng((seed, epoch)).permutation(count)
