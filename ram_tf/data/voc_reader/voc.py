"""Reads folders in a layout of PASCAL VOC: its own classes, or those of the data."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from ram_tf.data import stratification
from ram_tf.data.split import Split
from ram_tf.data.voc_reader import voc_annotations, voc_boxes, voc_folder, voc_labels
from ram_tf.data.voc_reader.voc_labels import LABEL_NAMES

# The value of a label whose objects are all marked difficult, by policy.
DIFFICULT = {"unknown": -1, "positive": 1, "negative": 0}
FRACTIONS = (0.8, 0.1, 0.1)
# The splits of a folder that has none.
DIVIDED = ("train", "val", "test")


def load(
    data_dir,
    year,
    split,
    difficult="unknown",
    negatives="drop",
    split_fraction=FRACTIONS,
    seed=0,
):
    """Reads one split of VOC 2007 or 2012, or of any folder in a layout of VOC.

    The labels are VOC's 20 if their class files exist. Otherwise the classes are taken
    from the data: from class files (`ImageSets/Main/helmet_train.txt`), or without
    those from the objects of the annotations; in the order of CVAT's `labelmap.txt`,
    then sorted.

    A split is listed in `ImageSets/Main`, or is a folder (`train`, `valid`, `test`) of
    images and annotations. A folder without both is divided into train, val and test,
    with each label in its share. Images are looked for by their stems.

    Args:
        data_dir: The folder `VOCdevkit`, its parent, `VOC<year>` itself, or a folder of
            your own.
        year: 2007 or 2012; None for any folder, whose class files are all read.
        split: "train", "val", "trainval", "test", or another split with files in
            `ImageSets/Main`. Without files of its own, "trainval" is built from "train"
            and "val".
        difficult: The value of a label whose objects are all marked difficult:
            "unknown" (left out of loss and metrics, as in the challenge), "positive" or
            "negative".
        negatives: What becomes of images without an annotation where labels are those
            of the annotations: "drop" to leave them out; "keep" for images in which
            every label is absent. (An annotation without objects says the latter.)
        split_fraction: The fractions of train, val and test of a divided folder.
        seed: The seed of that division.

    Returns:
        A `Split`. Its boxes are those of the annotations, or of a `boxes.json` next to
        `ImageSets` (see `boxes_json.read_boxes`; by stem), or None. Boxes that cannot
        be used are left out and counted in the notes.

    Raises:
        FileNotFoundError: The folder, the split, or a file `{class}_{split}.txt` is
            missing.
        ValueError: The content of a file is invalid, or the split has no images.
    """
    if difficult not in DIFFICULT:
        raise ValueError(
            f"Unknown policy for difficult objects. Expected one of: "
            f"{', '.join(DIFFICULT)}. Received: difficult={difficult!r}"
        )
    found = _find(Path(data_dir), year, split)
    _check_split(found, year, split)
    read = functools.cache(voc_annotations.read)
    names = voc_labels.classes(found, year, read)
    policies = difficult, negatives
    if split in _splits(found) or split == found.whole:
        return _read(found, names, split, policies, read)
    whole = _read(found, names, found.whole, policies, read)
    part = whole.take(_divide(whole.labels, split_fraction, seed)[split])
    if not len(part):
        raise ValueError(
            f"The split {split!r} of {found.root} has no images. Expected more images, "
            f"or another --split_fraction. Received: {len(whole)} images together"
        )
    note = (
        f"{len(part)} of {len(whole)} images: {found.root} has no splits of its own "
        "and is divided (--split_fraction)"
    )
    return dataclasses.replace(part, notes=(note, *part.notes))


def split_names(data_dir, year=None):
    """Returns the names of the splits that a folder has, sorted.

    Raises:
        FileNotFoundError: The folder has no layout of VOC.
        ValueError: Its splits are unclear.
    """
    return _split_names(_find(Path(data_dir), year, "train"))


def label_names(data_dir, year=None):
    """Returns the names of a folder's labels, without reading its images.

    Raises:
        FileNotFoundError: The folder has no layout of VOC.
        ValueError: The content of a file is invalid.
    """
    found = _find(Path(data_dir), year, "train")
    return voc_labels.classes(found, year, voc_annotations.read).names


def has_class_files(data_dir, year=None):
    """Whether a folder has the class files of VOC's 20 classes.

    Raises:
        FileNotFoundError: The folder has no layout of VOC.
        ValueError: Its splits are unclear.
    """
    return voc_labels.is_papers(_find(Path(data_dir), year, "train"), year)


def difficult_notes(count, difficult):
    """Returns the sentence for the log on difficult labels, in a tuple."""
    if not count:
        return ()
    return (f"{count} labels with difficult objects only: taken as {difficult}.",)


def _find(data_dir, year, split):
    found = voc_folder.find(data_dir, year, split, LABEL_NAMES)
    if found is not None:
        return found
    name = f"VOC{year}/ImageSets/Main" if year else "VOC annotation"
    raise FileNotFoundError(
        f"There is no {name} in {data_dir}. Expected\n{_tree(year, 'train')}\n"
        f"Received: data_dir={str(data_dir)!r}, which "
        f"{'has none' if data_dir.is_dir() else 'is not a folder'}"
    )


def _tree(year, split):
    year = year or 2012
    return (
        "DATA_DIR/\n"
        f"    VOC{year}/\n"
        f"        JPEGImages/{year}_000001.jpg ...\n"
        f"        ImageSets/Main/{LABEL_NAMES[0]}_{split}.txt ... one for each of the "
        f"{len(LABEL_NAMES)} classes\n"
        f"        Annotations/{year}_000001.xml ... (optional, the boxes)\n"
        "or with classes of your own, there or in DATA_DIR itself,\n"
        "        JPEGImages/NAME.jpg, Annotations/NAME.xml, and "
        f"ImageSets/Main/{split}.txt\n"
        "or  train/NAME.jpg, train/NAME.xml, and the same in valid/ and test/\n"
        "or  NAME.jpg, NAME.xml, which are divided into train, val and test"
    )


def _splits(found):
    """Returns the splits of a folder, with a trainval of two of them, sorted."""
    both = {"trainval"} if {"train", "val"} <= set(found.parts) else set()
    return tuple(sorted({*found.parts, *both} - {found.whole}))


def _split_names(found):
    return _splits(found) if found.whole is None else tuple(sorted(DIVIDED))


def _check_split(found, year, split):
    """Raises a `FileNotFoundError` if a folder lacks a split or its class files."""
    names = voc_labels.filed_classes(found)
    if voc_labels.is_papers(found, year):
        names = LABEL_NAMES
    elif split not in (*_split_names(found), found.whole):
        raise FileNotFoundError(
            f"There is no split {split!r} in {found.root}. Expected one of: "
            f"{', '.join(_split_names(found))} (set --train_split, --val_split or "
            f"--report_split); as in\n{_tree(year, split)}\nReceived: split={split!r}"
        )
    elif not (names and found.sets.has_class_files(split)):
        return
    if split == "trainval" and not found.sets.has_class_files(split):
        for part in ("train", "val"):
            _check_split(found, year, part)
        return
    missing = found.sets.missing(split, names)
    if missing:
        public = (str(year), split) != ("2012", "test")
        hint = "" if public else " (The labels of VOC 2012's test were not published.)"
        raise FileNotFoundError(
            f"The split {split!r} of {found.root} lacks {len(missing)} of its "
            f"{len(names)} class files.{hint} Expected\n"
            f"{_tree(year, split)}\nReceived: no {missing[0]} in {found.sets.folder}"
        )


def _divide(labels, fractions, seed):
    """Returns the indices of the images of each split of a folder without splits."""
    counts = stratification.part_sizes(len(labels), fractions)
    parts = stratification.divide(labels, counts, seed)
    return dict(zip(DIVIDED, parts, strict=True))


def _read(found, names, split, policies, read):
    """Returns the `Split` of a part of a folder, or of its "trainval"."""
    if not found.has_images:
        raise FileNotFoundError(
            f"There are no images in {found.root}. Expected\n{_tree(None, split)}\n"
            f"Received: no folder {found.root / 'JPEGImages'}"
        )
    difficult, negatives = policies
    entries, marks, unlabelled = [], [], []
    boxes = voc_boxes.Boxes(names.names)
    further = [(entry, None) for entry in found.without_annotation(split)]
    for entry, own in [*voc_labels.rows(found, names, split), *further]:
        if own is not None:
            annotation = boxes.read_optional(entry, read)
        else:
            annotation = voc_labels.read_annotation(entry, read)
            if annotation is None:
                unlabelled.append(entry.image)
                if negatives == "drop":
                    continue
            own = voc_labels.marks_of(annotation, entry.annotation, names.names)
        boxes.add(entry, annotation)
        entries.append(entry)
        marks.append(own)
    if not entries:
        raise ValueError(
            f"The split {split!r} of {found.root} has no images. Expected at least one "
            f"line in {names.names[0]}_{split}.txt, or an image with an annotation "
            f"(or --negatives keep). Received: {len(unlabelled)} images without one"
        )
    values = np.array(marks, np.int8)
    absent = voc_labels.ABSENT
    labels = np.where(values == absent, 0, np.where(values, 1, DIFFICULT[difficult]))
    images = tuple(str(found.root / entry.image) for entry in entries)
    if found.has_annotations:
        placed, box_notes = boxes.of_annotations(images)
    else:
        keys = [entry.key for entry in entries]
        path = found.root / "boxes.json"
        placed, box_notes = voc_boxes.of_json(path, names.names, keys, found.image_keys)
    return Split(
        images=images,
        names=tuple(entry.image for entry in entries),
        labels=labels.astype(np.int8),
        label_names=names.names,
        boxes=placed,
        notes=(
            *names.notes,
            *_left_out(unlabelled, negatives, entries),
            *difficult_notes((values == voc_labels.DIFFICULT_ONLY).sum(), difficult),
            *box_notes,
        ),
    )


def _left_out(unlabelled, negatives, entries):
    """Returns the sentences for the log on images that are not read, in a tuple."""
    notes = []
    if unlabelled:
        taken = "are left out (--negatives keep keeps them)"
        taken = taken if negatives == "drop" else "are taken as without any label"
        notes.append(
            f"{len(unlabelled)} images have no annotation and {taken}, such as "
            f"{unlabelled[0]}"
        )
    others = [(entry.image, other) for entry in entries for other in entry.others]
    if others:
        notes.append(
            f"{len(others)} images have the stem of another and are left out, such as "
            f"{others[0][1]} beside {others[0][0]}"
        )
    return tuple(notes)
