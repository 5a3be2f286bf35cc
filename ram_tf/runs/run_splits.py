"""Which images a run learns from, selects by and reports on."""

import dataclasses
import itertools
import pathlib
import sys
from typing import NamedTuple

import numpy as np

from ram_tf.data import datasets
from ram_tf.data.pipelines import find_unreadable
from ram_tf.data.split import Split

HELD_BACK = 0.1  # of the training split, where there is none to select by


class RunSplits(NamedTuple):
    """The three splits of a run.

    Args:
        train: What is learnt from.
        selection: What the best epoch is selected by; never reported.
        report: Read once, at the end.
    """

    train: Split
    selection: Split
    report: Split


def names_of(settings):
    """What the splits of a run are called in its data set.

    Args:
        settings: The `Config`.

    Returns:
        A `RunSplits` of names; None for `selection` where a tenth is held back for it.
    """
    usual = datasets.default_splits(
        settings.data.dataset, settings.data.data_dir or None
    )
    return RunSplits(
        settings.data.train_split or usual.train,
        settings.data.val_split or usual.selection,
        settings.data.report_split or usual.report,
    )


def load_split(settings, name):
    """Reads one split of the data set that the settings name, and tells its notes.

    Args:
        settings: The `Config`.
        name: Of the split.

    Returns:
        A `Split` whose images can all be read.

    Raises:
        ValueError: Images cannot be read, and `skip_unreadable` is not set.
        FileNotFoundError: The data set is not there.
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

    Where neither the settings nor the data set name a split to select by, a seeded
    tenth of the training split is held back for it.

    Returns:
        A `RunSplits`.

    Raises:
        ValueError: As `load_split`; or no label has a positive to learn from, or the
            splits do not have the same labels.
    """
    names = names_of(settings)
    train, selection = hold_back(settings, load_training(settings))
    if selection is None:
        selection = load_split(settings, names.selection)
    report = load_split(settings, names.report)
    for split in (selection, report):
        check_labels(split, train.label_names)
    _tell_missing(train)
    splits = RunSplits(train, selection, report)
    _check_apart(splits)
    if settings.training.select_by == "mAP" and not (selection.labels > 0).any():
        raise ValueError(
            "The best epoch cannot be selected by mAP. Expected a selection split with "
            f"positives, or --select_by loss. Received: {len(selection)} images without"
        )
    return splits


def load_training(settings):
    """Reads the whole training split, with what was held back of it to select by."""
    return load_split(settings, names_of(settings).train)


def hold_back(settings, whole):
    """Divides the training split into what is learnt from and what is selected by.

    Args:
        settings: The `Config`.
        whole: The `Split` that `load_training` reads for them.

    Returns:
        The two `Split`s; the whole and None where another split selects.
    """
    if names_of(settings).selection:
        return whole, None
    return whole.hold_out(HELD_BACK, settings.training.seed)


def load_report(settings, name, label_names):
    """Reads a split to judge a trained model on.

    Args:
        settings: The `Config`.
        name: Of the split; None for the one of the run's report.
        label_names: The model's labels.

    Returns:
        A `Split`.

    Raises:
        ValueError: As `load_split`; or the labels are not the model's.
    """
    split = load_split(settings, name or names_of(settings).report)
    check_labels(split, label_names)
    return split


def check_labels(split, label_names):
    """Raises a `ValueError` where a split's labels are not those of a model."""
    if tuple(split.label_names) != tuple(label_names):
        different = sorted(set(split.label_names) ^ set(label_names))
        raise ValueError(
            "The labels of the data are not those of the model. Expected "
            f"{len(label_names)}: {', '.join(label_names)}. Received: "
            f"{len(split.label_names)}; "
            + (
                f"in one only: {', '.join(different)}"
                if different
                else "in other order"
            )
        )


def _check_apart(splits):
    """Raises a `ValueError` where an image is in two splits: its report would lie."""
    for one, other in itertools.combinations(splits._fields, 2):
        shared = set(getattr(splits, one).names) & set(getattr(splits, other).names)
        if shared:
            raise ValueError(
                f"The splits for {one} and {other} share images. Expected none (see "
                "--train_split, --val_split, --report_split). Received: "
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
            f"No image of the split can be read. Received: {len(split)} images"
        )
    return split.take(np.setdiff1d(np.arange(len(split)), bad))


def _described(split, index):
    image = split.images[index]
    missing = not isinstance(image, bytes) and not pathlib.Path(image).exists()
    return split.names[index] + " (missing)" * missing


def _tell_missing(train):
    present = (train.labels > 0).any(0)
    missing = [
        name for name, any_ in zip(train.label_names, present, strict=True) if not any_
    ]
    if len(missing) == len(train.label_names):
        raise ValueError(
            "There is nothing to learn. Expected a label with at least one positive "
            f"training image. Received: {len(train)} images without any"
        )
    if missing:
        print(
            f"no positives to learn from for {len(missing)} of "
            f"{len(train.label_names)} labels: {', '.join(missing)}",
            file=sys.stderr,
        )
