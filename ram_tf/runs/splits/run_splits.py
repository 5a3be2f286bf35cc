"""Loads the training, validation and test split of a run."""

import contextlib
import dataclasses
import itertools
import pathlib
import sys
from typing import NamedTuple

import numpy as np

from ram_tf.data import datasets
from ram_tf.data.pixel_cache import PixelCache
from ram_tf.data.scan import describe_unreadable, scan
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
    _check_folder(settings.data.data_dir)
    defaults = datasets.default_splits(
        settings.data.dataset,
        settings.data.data_dir or None,
        division=settings.data.division,
    )
    return RunSplits(
        settings.data.train_split or defaults.train,
        settings.data.val_split or defaults.selection,
        settings.data.report_split or defaults.report,
    )


def load_split(settings, name, refusals=None, cached=False):
    """Reads one split of the dataset of the settings, and prints its notes.

    Args:
        settings: The `Config`.
        name: Name of the split.
        refusals: See `load`.
        cached: Whether the decoded images are kept as the settings say.

    Returns:
        A `Split` whose images can all be read, with `greys` and `unreadable`.

    Raises:
        ValueError: Images cannot be read, and `skip_unreadable` is not set.
        FileNotFoundError: The dataset does not exist.
    """
    split = read_split(settings, name)
    split = _scanned(split, settings, cached, refusals is not None)
    with _gathered(refusals):
        check_readable(split, settings, refusals is not None)
    return split


def read_split(settings, name):
    """Reads the names, labels and boxes of a split, and prints its notes.

    Args:
        settings: The `Config`.
        name: Name of the split.

    Returns:
        A `Split` whose images have not been read, unless the dataset says that they
        were (see `Split.scanned`).

    Raises:
        ValueError: A file of the dataset, other than an image, cannot be read.
        FileNotFoundError: The dataset does not exist.
    """
    _check_folder(settings.data.data_dir)
    split = datasets.load(
        settings.data.dataset,
        settings.data.data_dir or None,
        name,
        difficult=settings.data.difficult,
        year=settings.data.year or None,
        manual_dir=settings.data.manual_dir or None,
        split_fraction=settings.data.fractions,
        negatives=settings.data.negatives,
        division=settings.data.division,
    )
    for note in split.notes:
        print(f"{name}: {note}", file=sys.stderr)
    return dataclasses.replace(split, name=name)


def _check_folder(data_dir):
    """Raises a `FileNotFoundError` that says where a missing folder was looked for."""
    path = pathlib.Path(data_dir)
    if data_dir and not path.exists():
        place = "" if path.is_absolute() else f", looked for at {path.absolute()}"
        raise FileNotFoundError(
            f"There is no folder {data_dir} of images. Expected one with the dataset, "
            f"which --data_dir names. Received: {data_dir}{place}"
        )


def load(settings, refusals=None):
    """Reads the three splits of a run.

    If neither the settings nor the dataset have a validation split, a tenth of the
    training images is used, which depends on the seed. The labels are those of the
    training images, to which those of the other splits are mapped (see `with_labels`).

    Args:
        settings: The `Config`.
        refusals: A list that receives the message of each `ValueError` about the
            content of the splits, none of which is raised then.

    Returns:
        A `RunSplits`.

    Raises:
        ValueError: As `load_split`; or no label has a positive training image, the
            splits have no label in common or share images, or there is nothing to
            select by.
    """
    names = names_of(settings)
    train = load_split(settings, names.train, refusals, cached=True)
    selection = None
    with _gathered(refusals):
        train, selection = hold_back(settings, train)
    if names.selection:
        selection = load_split(settings, names.selection, refusals, cached=True)
    elif selection is None:  # of less than two images
        selection = dataclasses.replace(train.take([]), unreadable=())
    report = load_split(settings, names.report, refusals)
    with _gathered(refusals):
        selection = with_labels(selection, train.label_names)
    with _gathered(refusals):
        report = with_labels(report, train.label_names)
    with _gathered(refusals):
        _check_positives(train, refusals is not None)
    splits = RunSplits(train, selection, report)
    with _gathered(refusals):
        _check_disjoint(splits)
    with _gathered(refusals):
        _check_selection(selection, settings)
    return splits


def _check_selection(selection, settings):
    """Raises a `ValueError` if the best epoch cannot be chosen by its metric."""
    if settings.training.select_by == "mAP" and not (selection.labels > 0).any():
        raise ValueError(
            "The best epoch cannot be selected by mAP. Expected validation images with "
            f"labels, or --select_by loss. Received: {len(selection)} images without"
        )


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
    seed, division = settings.training.seed, settings.data.division
    train, held = whole.hold_out(HELD_BACK, seed, division)
    return train, dataclasses.replace(held, unreadable=())


def load_report(settings, name, label_names):
    """Reads a split to test a trained model on.

    Args:
        settings: The `Config`.
        name: Name of the split; None for the run's test split.
        label_names: The model's labels.

    Returns:
        A `Split` with the model's labels (see `with_labels`).

    Raises:
        ValueError: As `load_split`; or it has no label of the model.
    """
    split = load_split(settings, name or names_of(settings).report)
    return with_labels(split, label_names)


def with_labels(split, label_names):
    """Returns a split with the labels of a model, and prints what that changes.

    See `Split.with_labels`.
    """
    mapped = split.with_labels(label_names)
    for note in mapped.notes[len(split.notes) :]:
        print(f"{split.name}: {note}", file=sys.stderr)
    return mapped


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


def _scanned(split, settings, cached, is_check):
    """Returns the readable images of a split, with all that reading them shows.

    Images that were read when they were written into shards are not read again, except
    to fill a cache, under other limits, or to check them.
    """
    limits = settings.data.max_pixels, settings.data.truncated
    cache = None
    if cached and settings.data.cache != "none":
        cache = _cache(settings)
        cache.check_room(split)
    if split.scanned == limits and not cache and not is_check:
        return split
    bad, greys, pixels = scan(split, *limits, cache)
    split = dataclasses.replace(split, greys=greys, pixels=pixels)
    if not len(bad):
        return split
    faults = describe_unreadable(split, bad, *limits)
    unreadable = tuple((split.names[i], f) for i, f in zip(bad, faults, strict=True))
    split = split.take(np.setdiff1d(np.arange(len(split)), bad))
    return dataclasses.replace(split, unreadable=split.unreadable + unreadable)


def _cache(settings):
    folder = None
    if settings.data.cache == "disk":
        folder = settings.data.cache_dir or pathlib.Path.home() / ".cache" / "ram_tf"
    limits = settings.data.max_pixels, settings.data.truncated
    return PixelCache(settings.image.largest_edge, folder, limits)


def check_readable(split, settings, is_check=False):
    """Raises a `ValueError` for images that cannot be read, or says what is skipped.

    Args:
        split: The `Split` without these images.
        settings: The `Config`, whose `skip_unreadable` decides.
        is_check: Whether what is skipped is reported elsewhere.
    """
    bad = split.unreadable
    if not bad:
        return
    names = ", ".join(f"{name} ({fault.detail})" for name, fault in bad)
    if not settings.data.skip_unreadable:
        raise ValueError(
            "Images cannot be read. Expected JPEG or PNG files of at most "
            f"{settings.data.max_pixels} pixels (or --skip_unreadable). Received: "
            f"{len(bad)} of {len(split) + len(bad)}: {names}"
        )
    if not is_check:
        print(
            f"skipped {len(bad)} images that cannot be read: {names}", file=sys.stderr
        )
    if not len(split):
        raise ValueError(
            "No image of the split can be read. Expected at least one. "
            f"Received: {len(bad)} unreadable images"
        )


@contextlib.contextmanager
def _gathered(refusals):
    """Adds the message of a `ValueError` to a list; raises it if there is none."""
    try:
        yield
    except ValueError as error:
        if refusals is None:
            raise
        refusals.append(str(error))


def _check_positives(train, is_check):
    present = (train.labels > 0).any(0)
    missing = [n for n, p in zip(train.label_names, present, strict=True) if not p]
    if len(missing) == len(train.label_names):
        raise ValueError(
            "There are no positives to train on. Expected at least one image with a "
            f"label. Received: {len(train)} training images without labels"
        )
    if missing and not is_check:
        print(
            f"no positives to train on for {len(missing)} of "
            f"{len(train.label_names)} labels: {', '.join(missing)}",
            file=sys.stderr,
        )
