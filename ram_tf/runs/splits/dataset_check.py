"""Checks the splits of a run before training: counts, faults and duplicates."""

import dataclasses
import itertools

import numpy as np

from ram_tf.data import duplicates
from ram_tf.runs.splits import run_splits

# What the splits of `run_splits.RunSplits` are called here, in their order.
USES = ("training", "validation", "test")
# Ours: a fraction of the image that rounding in files of boxes may lead outside.
ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True)
class SplitCheck:
    """What one split holds.

    Args:
        use: One of `USES`.
        split: The dataset's name of the split.
        is_held_out: Whether its images are held out of the training split.
        images: Number of readable images.
        positives: Number of images with each label, by label name.
        unknown: Number of marks "unknown".
        unreadable: `{"image", "reason", "detail"}` of each image that cannot be read.
        boxes: Number of boxes; None if the dataset has none.
        outside: Names of the images of boxes that leave the image, one per box.
        empty: Names of the images of boxes without an area, one per box.
    """

    use: str
    split: str
    is_held_out: bool
    images: int
    positives: dict[str, int]
    unknown: int
    unreadable: list[dict[str, str]]
    boxes: int | None
    outside: list[str]
    empty: list[str]

    @classmethod
    def of(cls, use, split, is_held_out):
        """Counts what a `Split` of a run holds."""
        outside, empty = _wrong_boxes(split)
        counts = (split.labels > 0).sum(0).tolist()
        boxes = None
        if split.boxes is not None:
            boxes = sum(len(b) for found in split.boxes for b in found.values())
        return cls(
            use=use,
            split=split.name,
            is_held_out=is_held_out,
            images=len(split),
            positives=dict(zip(split.label_names, counts, strict=True)),
            unknown=int((split.labels < 0).sum()),
            unreadable=[
                {"image": name, **fault._asdict()} for name, fault in split.unreadable
            ],
            boxes=boxes,
            outside=outside,
            empty=empty,
        )

    @property
    def without_positives(self):
        """The names of the labels that no image has."""
        return [name for name, count in self.positives.items() if not count]


@dataclasses.dataclass(frozen=True)
class SharedImages:
    """The images of one split that another contains, too, under another name.

    Args:
        use: The split that is to judge the model, one of `USES`.
        other: The split that is used earlier, one of `USES`.
        exact: Pairs of names, of `use` and of `other`, of images with the same bytes.
        near: The same for images that look the same, such as in another size.
    """

    use: str
    other: str
    exact: list[tuple[str, str]]
    near: list[tuple[str, str]]

    @classmethod
    def of(cls, use, split, other_use, other):
        """Finds the images of a `Split` that another contains, too."""
        found = duplicates.find(split, other)

        def named(pairs):
            # Equal names are one image, which `run_splits.load` refuses.
            names = [(split.names[i], other.names[j]) for i, j in pairs]
            return [pair for pair in names if pair[0] != pair[1]]

        return cls(use, other_use, named(found.exact), named(found.near))


@dataclasses.dataclass(frozen=True)
class DatasetCheck:
    """What is in the splits of a run, and what is wrong with it.

    Args:
        dataset: Name of the dataset.
        data_dir: Its folder, or "".
        splits: A `SplitCheck` of each of `USES`.
        shared: `SharedImages` of each pair of splits.
        refusals: Sentences for what `fit` refuses.
    """

    dataset: str
    data_dir: str
    splits: list[SplitCheck]
    shared: list[SharedImages]
    refusals: list[str]

    def to_json(self):
        """Returns a dict for `json.dumps`."""
        result = dataclasses.asdict(self)
        for each, split in zip(result["splits"], self.splits, strict=True):
            each["without_positives"] = split.without_positives
        return result


def check(settings):
    """Reads the splits of a run and checks them.

    Args:
        settings: The `Config`.

    Returns:
        A `DatasetCheck`; what `fit` refuses is in its `refusals`.

    Raises:
        FileNotFoundError: The dataset, or a split of it, does not exist.
        ValueError: A file of the dataset, other than an image, cannot be read.
    """
    refusals = []
    splits = run_splits.load(settings, refusals)
    return describe(settings, splits, refusals)


def describe(settings, splits, refusals=()):
    """Checks splits that have been read.

    Args:
        settings: The `Config`.
        splits: The `RunSplits` of these settings.
        refusals: The sentences of what `fit` refuses.

    Returns:
        A `DatasetCheck`.
    """
    is_held_out = not run_splits.names_of(settings).selection
    used = list(zip(USES, splits, strict=True))
    return DatasetCheck(
        dataset=settings.data.dataset,
        data_dir=settings.data.data_dir,
        splits=[
            SplitCheck.of(use, split, is_held_out and use == "validation")
            for use, split in used
        ],
        shared=[
            SharedImages.of(*other, *one)
            for one, other in itertools.combinations(used, 2)
        ],
        refusals=list(refusals),
    )


def _wrong_boxes(split):
    """Returns the image's name of each box that is outside, and of each empty one."""
    outside, empty = [], []
    for name, found in zip(split.names, split.boxes or (), strict=False):
        for boxes in found.values():
            low, high = np.asarray(boxes)[:, :2], np.asarray(boxes)[:, 2:]
            leaves = (low < -ROUNDING) | (high > 1 + ROUNDING)
            outside += [name] * int(leaves.any(1).sum())
            empty += [name] * int((high <= low).any(1).sum())
    return outside, empty
