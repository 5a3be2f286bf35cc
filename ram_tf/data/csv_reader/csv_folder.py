"""Reads a folder of images with csv files, the format for a user's own images."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ram_tf.data import stratification
from ram_tf.data.csv_reader import csv_rows, label_studio, unsplit_labels
from ram_tf.data.readers.boxes_json import read_boxes, unknown_key_notes
from ram_tf.data.split import Split, check_label_names, shortened

SPLITS = ("train", "val", "test")
# Other names of a split's file, which are read if there is none of its own name.
OTHER_NAMES = {"val": ("valid", "validation")}
FRACTIONS = (0.8, 0.1, 0.1)
SINGLE_NAMES = ("data", "labels")
NO_TABLES = ("boxes.json",)
TREE = """\
DATA_DIR/
    train.csv     image,labels         or  image,cat,dog
    val.csv       photos/1.jpg,cat;dog     photos/1.jpg,1,0
    test.csv      (optional; or one csv, which is divided, in place of the three)
    labels.txt    (optional) one label name a line
    boxes.json    (optional) {"1": [{"label": "cat", "box": [0.1, 0.2, 0.5, 0.6]}]}
    photos/1.jpg"""


class _File(NamedTuple):
    """A file of a folder, and the split that its name says, None for the only file."""

    path: Path
    split: str | None


def load(data_dir, split, split_fraction=FRACTIONS, seed=0, division="stratified"):
    """Reads one split of a folder with csv files.

    The split is read from `<split>.csv`. A folder without `train.csv`, `val.csv` and
    `test.csv` may contain a single csv file instead (`data.csv`, `labels.csv`, or the
    only csv file), whose rows are divided into the three splits with each label in its
    share. A column `split` (`train`, `val` or `test`) or `is_valid` (`True` or `False`)
    decides in place of the file's name or of the division. In a folder without csv
    files, JSON files of the same names are read as exports of Label Studio.

    The column `image`, or else the first that holds names of image files, contains
    paths below `data_dir`, which are not opened here. The labels are either in a column
    `labels`, separated by `;`, where the prefix `?` marks an unknown label and all
    other labels are absent (ours); or in one column per label: 1, 0, and empty or -1
    for unknown. Labels without a column are unknown. Each image has only one row.

    `labels.txt` defines the label names and their order; otherwise they are the sorted
    names of all csv files, so that the splits agree. `boxes.json` contains boxes as
    described at `read_boxes`, by relative path or by stem.

    Args:
        data_dir: The folder.
        split: "train", "val" or "test".
        split_fraction: The fractions of train, val and test of a single csv file.
        seed: The seed of that division.
        division: One of `dataset_names.DIVISIONS`; "random" passes over columns of
            splits, too, as the versions did whose runs it is for.

    Returns:
        A `Split`; `boxes` is None without a `boxes.json`.

    Raises:
        FileNotFoundError: The folder or the csv file of the split is missing.
        ValueError: The content of a file is invalid, or the split has no images.
    """
    data_dir = Path(data_dir)
    available = split_names(data_dir, division)
    if split not in available:
        raise FileNotFoundError(
            f"There is no split {split!r} in {data_dir}. Expected one of: "
            f"{', '.join(available)}; as in\n{TREE}\nReceived: split={split!r}"
        )
    allowed = _read_label_list(data_dir / "labels.txt")
    files, unread = _files(data_dir)
    tables = [_read(file.path, allowed, division) for file in files]
    places = _places(tables)
    label_names = allowed or tuple(sorted(places))
    if not label_names:
        raise ValueError(
            f"The csv files of {data_dir} name no label. Expected at least one, or a "
            "labels.txt with the names of labels that no image has. "
            f"Received: {', '.join(file.path.name for file in files)}"
        )
    check_label_names(label_names, data_dir)
    separator_notes = unsplit_labels.check(places, allowed)
    rows, moved = _rows_of(
        split, files, tables, label_names, (split_fraction, seed, division)
    )
    if not rows:
        raise ValueError(
            f"The split {split!r} of {data_dir} has no images. Expected at least one "
            f"row. Received: {len(tables)} csv file(s) with "
            f"{sum(len(table.rows) for table in tables)} row(s) together"
        )
    all_images = {row.image for table in tables for row in table.rows}
    boxes, box_notes = _boxes(data_dir / "boxes.json", rows, all_images, label_names)
    return Split(
        images=tuple(str(data_dir / row.image) for row in rows),
        names=tuple(row.image for row in rows),
        labels=_labels(rows, label_names),
        label_names=label_names,
        boxes=boxes,
        notes=(
            *dict.fromkeys(note for table in tables for note in table.notes),
            *moved,
            *_shared_notes(split, files, tables),
            *separator_notes,
            *unread,
            *box_notes,
        ),
        others=np.array([row.default for row in rows], np.int8),
    )


def split_names(data_dir, division="stratified"):
    """Returns the splits of a folder with csv files, in the order of `SPLITS`."""
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise FileNotFoundError(
            f"There is no folder {data_dir}. Expected\n{TREE}\n"
            f"Received: data_dir={str(data_dir)!r}"
        )
    files, _ = _files(data_dir)
    if not files:
        others = sorted(
            p.name for e in ("csv", "json") for p in data_dir.glob(f"*.{e}")
        )
        raise FileNotFoundError(
            f"No csv file is in {data_dir}. Expected another --dataset, or\n{TREE}\n"
            f"Received: {', '.join(others) or 'no csv file'}"
        )
    found = set()
    for file in files:
        named = _splits_in(file.path) if division == "stratified" else ()
        found.update(named or ((file.split,) if file.split else SPLITS))
    return tuple(name for name in SPLITS if name in found)


def _files(data_dir):
    """Returns the `_File`s of a folder, and notes on files that are not read."""
    for ending in ("csv", "json"):
        paths = sorted(data_dir.glob(f"*.{ending}"))
        paths = [p for p in paths if p.name not in NO_TABLES and p.is_file()]
        by_name = {path.stem: path for path in paths}
        files = []
        for split in SPLITS:
            names = (split, *OTHER_NAMES.get(split, ()))
            path = next((by_name[name] for name in names if name in by_name), None)
            if path:
                files.append(_File(path, split))
        if not files:
            single = [by_name[name] for name in SINGLE_NAMES if name in by_name]
            single = single or (paths if len(paths) == 1 else [])
            files = [_File(path, None) for path in single[:1]]
        if files:
            read = {file.path for file in files}
            left = [path.name for path in paths if path not in read]
            # Other programs keep JSON files of all kinds.
            if left and ending == "csv":
                return files, (f"not read: {shortened(left)}",)
            return files, ()
    return [], ()


def _read(path, allowed, division):
    if path.suffix == ".json":
        found = label_studio.read_json(path, path.parent)
        csv_rows.check_allowed(found.names, allowed, path)
        return found
    return csv_rows.read(path, allowed, TREE, use_split=division == "stratified")


def _splits_in(path):
    if path.suffix == ".json":
        found = label_studio.read_json(path, path.parent)
        return {row.split for row in found.rows if row.split}
    return csv_rows.splits_in(path, TREE)


def _places(tables):
    """Returns from each label to where it is listed first, None if in a column only."""
    places = {}
    for table in tables:
        for name, where in table.names.items():
            if places.get(name) is None:
                places[name] = where
    return places


def _rows_of(split, files, tables, label_names, how):
    """Returns the rows of a split, and notes on rows that a column gave to it."""
    single = files[0].split is None
    if single and not any(row.split for row in tables[0].rows):
        rows = tables[0].rows
        chosen = _divide(_labels(rows, label_names), *how)[split]
        return [rows[i] for i in chosen], ()
    rows, notes = [], []
    for file, table in zip(files, tables, strict=True):
        marked = Counter(row.split or file.split for row in table.rows)
        rows += [row for row in table.rows if (row.split or file.split) == split]
        if set(marked) - {file.split}:
            parts = ", ".join(f"{marked[n]} {n}" for n in SPLITS if marked[n])
            notes.append(f"{file.path.name} is divided by its own column: {parts}")
    counts = Counter(row.image for row in rows)
    twice = [image for image, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"Images of the split {split!r} are in several files. Expected one row "
            f"per image. Received: {len(twice)}, such as {twice[0]!r}"
        )
    return rows, tuple(notes)


def _labels(rows, label_names):
    columns = {name: i for i, name in enumerate(label_names)}
    labels = np.empty((len(rows), len(label_names)), np.int8)
    for i, row in enumerate(rows):
        labels[i] = row.default
        for name, mark in row.marks.items():
            labels[i, columns[name]] = mark
    return labels


def _divide(labels, fractions, seed, division):
    """Returns the row numbers of each split, in the order of the file."""
    counts = stratification.part_sizes(len(labels), fractions)
    if division == "stratified":
        parts = stratification.divide(labels, counts, seed)
    else:
        order = np.random.default_rng(seed).permutation(len(labels))
        parts = [np.sort(part) for part in np.split(order, np.cumsum(counts)[:2])]
    return dict(zip(SPLITS, parts, strict=True))


def _read_label_list(path):
    """Returns the names of `labels.txt`, an empty tuple without the file."""
    if not path.is_file():
        return ()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _unreadable(path, "one label name per line, in UTF-8", error) from error
    names = tuple(line.strip() for line in lines if line.strip())
    counts = Counter(names)
    check_label_names(tuple(counts), path)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice or not names:
        raise ValueError(
            f"{path} is not a list of labels. Expected at least one name, one per line "
            f"and each once. Received: {', '.join(twice) or 'an empty file'}"
        )
    return names


def _unreadable(path, expected, error):
    return ValueError(f"{path} cannot be read. Expected {expected}. Received: {error}")


def _boxes(path, rows, all_images, label_names):
    """Returns the boxes of the rows, None if there are none, and notes for the log."""
    if not path.is_file():
        if all(row.boxes is None for row in rows):
            return None, ()
        return tuple(row.boxes or {} for row in rows), ()
    by_key = {
        str(PurePosixPath(key.replace("\\", "/"))): boxes
        for key, boxes in read_boxes(path, label_names).items()
    }
    stems = {}
    for image in all_images:
        stems.setdefault(PurePosixPath(image).stem, set()).add(image)
    for key in by_key:
        if key not in all_images and len(stems.get(key, ())) > 1:
            raise ValueError(
                f"A key of {path} names several images. Expected relative paths "
                f"where stems are not unique. Received: {key!r} for "
                f"{', '.join(sorted(stems[key]))}"
            )
    boxes = tuple(
        by_key.get(row.image, by_key.get(PurePosixPath(row.image).stem, {}))
        for row in rows
    )
    return boxes, unknown_key_notes(path, by_key, {*all_images, *stems})


def _shared_notes(split, files, tables):
    """Returns a sentence per other file that contains images of this split's."""
    notes, rows_of = [], dict(zip(files, tables, strict=True))
    own = next((file for file in files if file.split == split), None)
    if own is None:
        return ()
    images = {row.image for row in rows_of[own].rows}
    for file, table in rows_of.items():
        shared = sum(row.image in images for row in table.rows)
        if shared and file != own:
            notes.append(
                f"{shared} images of {own.path.name} are in {file.path.name}, too."
            )
    return tuple(notes)
