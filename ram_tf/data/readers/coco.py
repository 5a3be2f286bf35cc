"""Reads COCO's instances: MS-COCO itself, and what tools export in its format."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from ram_tf.data import stratification
from ram_tf.data.csv_reader import csv_folder
from ram_tf.data.images.box_frames import turn_with_images
from ram_tf.data.readers import coco_instances, coco_layout
from ram_tf.data.readers.boxes_json import as_boxes
from ram_tf.data.split import Split

LARGEST = float(np.finfo(np.float32).max)
# What becomes of images without an annotation.
NEGATIVES = ("drop", "keep")


def load(
    data_dir,
    split,
    year=None,
    negatives="drop",
    split_fraction=csv_folder.FRACTIONS,
    seed=0,
):
    """Reads one split of COCO, in one of the layouts of `coco_layout`.

    A label is present if the image has an annotation of that category, crowds included.
    The labels are in the order of their category IDs, which have gaps. What cannot be
    used is counted in the notes: annotations of images or categories that are not
    listed, boxes that are no boxes, and a category that only groups the others.

    A file with the annotations of all images is divided into "train", "val" and "test",
    each with its share of each label.

    Args:
        data_dir: The folder that contains `annotations/`, or another layout.
        split: "train", "val" or "test", with or without the year ("train2014").
        year: 2014 or 2017; None for the year found in the folder.
        negatives: "drop" to leave out images without any label, as in the paper; "keep"
            for images in which every label is absent.
        split_fraction: The fractions of train, val and test of a file of all images.
        seed: The seed of that division.

    Returns:
        A `Split`, with the boxes of all annotations, which are turned with photographs
        that EXIF turns; `boxes` is None if there is none.

    Raises:
        FileNotFoundError: The folder, or the annotations or images of the split, are
            missing.
        ValueError: The year is ambiguous, the annotations cannot be read or contradict
            each other, or the split has no images (with labels).
    """
    if negatives not in NEGATIVES:
        raise ValueError(
            "Unknown policy for images without annotations. Expected one of: "
            f"{', '.join(NEGATIVES)}. Received: negatives={negatives!r}"
        )
    data_dir = Path(data_dir)
    source = coco_layout.find(data_dir, split, year)
    found = coco_instances.read(source)
    if not found.images or (found.lost and not found.annotations):
        raise _no_images(split, source, "at least one", found.images, found.lost)
    files, names = coco_layout.place_images(
        {key: entry["file_name"] for key, entry in found.images.items()},
        source,
        data_dir,
    )
    # The same file may be listed under several IDs.
    keys_of = defaultdict(list)
    for key, name in names.items():
        keys_of[name].append(key)
    labels = _labels(found, names, keys_of)
    chosen, notes = _chosen(labels, source, split, negatives, split_fraction, seed)
    if not len(chosen):
        expected = "at least one (or --negatives keep)"
        raise _no_images(split, source, expected, keys_of, notes)
    listed = list(keys_of)
    kept = [listed[i] for i in chosen]
    paths = [files[keys_of[name][0]] for name in kept]
    boxes, box_notes = _boxes(found, names, kept, paths)
    twice_notes = _listed_twice(keys_of, source.path)
    return Split(
        images=tuple(paths),
        names=tuple(kept),
        labels=labels[chosen],
        label_names=tuple(found.categories.values()),
        boxes=boxes,
        notes=(*found.notes, *twice_notes, *notes, *box_notes),
    )


def label_names(data_dir, year=None):
    """Returns the names of a folder's labels by the smallest file of its splits.

    Args:
        data_dir: The folder.
        year: As in `load`.

    Raises:
        FileNotFoundError: There are no annotations to train on.
        ValueError: The annotations cannot be read.
    """
    return coco_instances.categories(coco_layout.find(Path(data_dir), "train", year))


def _no_images(split, source, expected, images, notes):
    return ValueError(
        f"The split {split!r} has no images with labels in {source.path}. Expected "
        f"{expected}. Received: {len(images)} images"
        + "".join(f"; {note}" for note in notes)
    )


def _labels(found, names, keys_of):
    """Returns the labels, a row for each name of an image."""
    labels = np.zeros((len(keys_of), len(found.categories)), np.int8)
    rows = {name: i for i, name in enumerate(keys_of)}
    columns = {key: i for i, key in enumerate(found.categories)}
    for entry in found.annotations:
        labels[rows[names[entry["image_id"]]], columns[entry["category_id"]]] = 1
    return labels


def _listed_twice(keys_of, path):
    twice = [name for name, keys in keys_of.items() if len(keys) > 1]
    if not twice:
        return ()
    keys = ", ".join(map(repr, keys_of[twice[0]][:3]))
    return (
        f"{len(twice)} images of {path} are listed under several IDs, such as "
        f"{twice[0]} ({keys}): they are read once, with the labels of all",
    )


def dropped_notes(count, total):
    """Returns the sentence for the log on images without labels, in a tuple."""
    if not count:
        return ()
    return (f"{count} of {total} images without any label: dropped.",)


def _chosen(labels, source, split, negatives, split_fraction, seed):
    """Returns the rows of the split, and notes on others."""
    notes, rows = (), np.arange(len(labels))
    if source.is_whole:
        # All images are divided, so that a test with negatives contains no training
        # images of a run without them.
        counts = stratification.part_sizes(len(labels), split_fraction)
        parts = stratification.divide(labels, counts, seed)
        rows = parts[coco_layout.SPLITS.index(split)]
        notes = (
            f"{len(rows)} of {len(labels)} images of {source.path}, which is divided "
            "by --split_fraction into train, val and test",
        )
    empty = ~labels[rows].any(1)
    if negatives == "keep" or not empty.any():
        return rows, notes
    (note,) = dropped_notes(empty.sum(), len(rows))
    return rows[~empty], (*notes, f"{note[:-1]} (--negatives keep keeps them).")


def _boxes(found, names, kept, paths):
    """Returns the boxes of the images that are kept, None if there are none, and notes.

    Labels need no boxes, which only measure where the model looks: what is no box is
    left out.
    """
    sizes = {key: _size(entry) for key, entry in found.images.items()}
    boxes, lost, count = {name: defaultdict(list) for name in kept}, [], 0
    size_of = {}
    for entry in found.annotations:
        key = entry["image_id"]
        if names[key] not in boxes:
            continue
        count += 1
        box = _box(entry.get("bbox"), sizes[key])
        if box is None:
            lost.append(entry)
        else:
            boxes[names[key]][found.categories[entry["category_id"]]].append(box)
            size_of.setdefault(names[key], sizes[key])
    notes = ()
    if lost:
        notes = (
            f"{len(lost)} of {count} annotations have no box of four numbers, or their "
            f"image no width and height, such as annotation {lost[0].get('id')!r} of "
            f"image {lost[0]['image_id']!r}: their labels are read, boxes are left out",
        )
    if not any(boxes.values()):
        return None, notes
    turned, turn_notes = turn_with_images(
        paths,
        [size_of.get(name) for name in kept],
        [{k: as_boxes(v) for k, v in boxes[name].items()} for name in kept],
    )
    return tuple(turned), (*notes, *turn_notes)


def _box(box, size):
    """Returns `ymin, xmin, ymax, xmax` as fractions of the image, None if invalid."""
    if size is None or not isinstance(box, list):
        return None
    try:
        x, y, width, height = map(float, box)
        across, down = size
        found = (y / down, x / across, (y + height) / down, (x + width) / across)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return found if all(abs(side) <= LARGEST for side in found) else None


def _size(entry):
    """Returns the noted width and height of an image, None if they are no size."""
    size = entry.get("width"), entry.get("height")
    usable = all(isinstance(side, int | float) and 0 < side < 1e9 for side in size)
    return size if usable else None
