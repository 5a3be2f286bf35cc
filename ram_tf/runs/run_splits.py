"""Loads the training, validation and test split of a run."""

import dataclasses
import itertools
import pathlib
import sys
from typing import NamedTuple

import numpy as np

from ram_tf.data import datasets
from ram_tf.data.pipelines import find_unreadable
from ram_tf.data.split import Split

# Share of the training images used for validation if there is no validation split.
HELD_BACK = 0.1


class RunSplits(NamedTuple):
    """The three splits of a run.

    Args:
        train: Training split.
        selection: Validation split, which chooses the best epoch.
        report: Test split, evaluated once after training.
    """

    train: Split
    selection: Split
    report: Split


def names_of(settings):
    """Returns the names of the splits of a run in its dataset.

    Args:
        settings: The `Config`.

    Returns:
        A `RunSplits` of names; `selection` is None if a tenth of `train` is used.
    """
    defaults = datasets.default_splits(
        settings.data.dataset, settings.data.data_dir or None
    )
    return RunSplits(
        settings.data.train_split or defaults.train,
        settings.data.val_split or defaults.selection,
        settings.data.report_split or defaults.report,
    )


def load_split(settings, name):
    """Reads one split of the dataset of the settings, and prints its notes.

    Args:
        settings: The `Config`.
        name: Name of the split.

    Returns:
        A `Split` whose images can all be read.

    Raises:
        ValueError: Images cannot be read, and `skip_unreadable` is not set.
        FileNotFoundError: The dataset does not exist.
    """
    split = datasets.load(
        settings.data.dataset,
        settings.data.data_dir or None,
        name,
        difficult=settings.data.difficult,
        year=settings.data.year or None,
        manual_dir=settings.data.manual_dir or None,
        split_fraction=settings.data.fractions,
    )
    for note in split.notes:
        print(f"{name}: {note}", file=sys.stderr)
    return _readable(dataclasses.replace(split, name=name), settings)


def load(settings):
    """Reads the three splits of a run.

    If neither the settings nor the dataset have a validation split, a random tenth of
    the training images is used, which depends on the seed.

    Returns:
        A `RunSplits`.

    Raises:
        ValueError: As `load_split`; or no label has a positive training image, the
            splits differ in labels or share images, or there is nothing to select by.
    """
    names = names_of(settings)
    train, selection = hold_back(settings, load_training(settings))
    if selection is None:
        selection = load_split(settings, names.selection)
    report = load_split(settings, names.report)
    for split in (selection, report):
        check_labels(split, train.label_names)
    _check_positives(train)
    splits = RunSplits(train, selection, report)
    _check_disjoint(splits)
    if settings.training.select_by == "mAP" and not (selection.labels > 0).any():
        raise ValueError(
            "The best epoch cannot be selected by mAP. Expected validation images with "
            f"labels, or --select_by loss. Received: {len(selection)} images without"
        )
    return splits


def load_training(settings):
    """Reads the whole training split, including any images held out of it."""
    return load_split(settings, names_of(settings).train)


def hold_back(settings, whole):
    """Holds validation images out of the training split if they are needed.

    Args:
        settings: The `Config`.
        whole: The result of `load_training` for these settings.

    Returns:
        The training and validation `Split`; or `whole` and None if the run has a
        validation split of its own.
    """
    if names_of(settings).selection:
        return whole, None
    return whole.hold_out(HELD_BACK, settings.training.seed)


def load_report(settings, name, label_names):
    """Reads a split to test a trained model on.

    Args:
        settings: The `Config`.
        name: Name of the split; None for the run's test split.
        label_names: The model's labels.

    Returns:
        A `Split`.

    Raises:
        ValueError: As `load_split`; or its labels are not those of the model.
    """
    split = load_split(settings, name or names_of(settings).report)
    check_labels(split, label_names)
    return split


def check_labels(split, label_names):
    """Raises a `ValueError` if a split's labels are not those of a model."""
    if tuple(split.label_names) != tuple(label_names):
        different = sorted(set(split.label_names) ^ set(label_names))
        raise ValueError(
            "The labels of the data are not those of the model. Expected "
            f"{len(label_names)}: {', '.join(label_names)}. Received: "
            f"{len(split.label_names)}; "
            + (
                f"in one only: {', '.join(different)}"
                if different
                else "in another order"
            )
        )


def _check_disjoint(splits):
    """Raises a `ValueError` if two splits share images, which biases the metrics."""
    for one, other in itertools.combinations(splits._fields, 2):
        shared = set(getattr(splits, one).names) & set(getattr(splits, other).names)
        if shared:
            raise ValueError(
                f"The splits for {one} and {other} share images. Expected none (set "
                "--train_split, --val_split or --report_split). Received: "
                f"{len(shared)}, such as {min(shared)}"
            )


def _readable(split, settings):
    bad = find_unreadable(split, settings.data.max_pixels)
    if not len(bad):
        return split
    names = ", ".join(_described(split, i) for i in bad)
    if not settings.data.skip_unreadable:
        raise ValueError(
            "Images cannot be read. Expected JPEG or PNG files of at most "
            f"{settings.data.max_pixels} pixels (or --skip_unreadable). Received: "
            f"{len(bad)} of {len(split)}: {names}"
        )
    print(f"skipped {len(bad)} images that cannot be read: {names}", file=sys.stderr)
    if len(bad) == len(split):
        raise ValueError(
            "No image of the split can be read. Expected at least one. "
            f"Received: {len(split)} unreadable images"
        )
    return split.take(np.setdiff1d(np.arange(len(split)), bad))


def _described(split, index):
    image = split.images[index]
    missing = not isinstance(image, bytes) and not pathlib.Path(image).exists()
    return f"{split.names[index]} (missing)" if missing else split.names[index]


def _check_positives(train):
    present = (train.labels > 0).any(0)
    missing = [n for n, p in zip(train.label_names, present, strict=True) if not p]
    if len(missing) == len(train.label_names):
        raise ValueError(
            "There are no positives to train on. Expected at least one image with a "
            f"label. Received: {len(train)} training images without labels"
        )
    if missing:
        print(
            f"no positives to train on for {len(missing)} of "
            f"{len(train.label_names)} labels: {', '.join(missing)}",
            file=sys.stderr,
        )
