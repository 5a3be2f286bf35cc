"""Reads a folder of images with csv files, the format for a user's own images."""

import csv
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ram_tf.data.readers.boxes_json import read_boxes, unknown_key_notes
from ram_tf.data.split import Split, check_label_names, path_inside

SPLITS = ("train", "val", "test")
FRACTIONS = (0.8, 0.1, 0.1)
SINGLE_NAMES = ("data.csv", "labels.csv")
TREE = """\
DATA_DIR/
    train.csv     image,labels         or  image,cat,dog
    val.csv       photos/1.jpg,cat;dog     photos/1.jpg,1,0
    test.csv      (optional; or one csv, which is divided, in place of the three)
    labels.txt    (optional) one label name a line
    boxes.json    (optional) {"1": [{"label": "cat", "box": [0.1, 0.2, 0.5, 0.6]}]}
    photos/1.jpg"""


class _Row(NamedTuple):
    """A csv row: an image, 1, 0 or -1 of its listed labels, and that of all others."""

    image: str
    marks: dict[str, int]
    default: int


def load(data_dir, split, split_fraction=FRACTIONS, seed=0):
    """Reads one split of a folder with csv files.

    The split is read from `<split>.csv`. A folder without `train.csv`, `val.csv` and
    `test.csv` may contain a single csv file instead (`data.csv`, `labels.csv`, or the
    only csv file), whose rows are divided at random into the three splits.

    The column `image`, or else the first, contains paths below `data_dir`, which are
    not opened here. The labels are either in a column `labels`, separated by `;`, where
    the prefix `?` marks an unknown label and all other labels are absent (ours); or in
    one column per label: 1, 0, and empty or -1 for unknown. Labels without a column are
    unknown. Each image has only one row.

    `labels.txt` defines the label names and their order; otherwise they are the sorted
    names of all csv files, so that the splits agree. `boxes.json` contains boxes as
    described at `read_boxes`, by relative path or by stem.

    Args:
        data_dir: The folder.
        split: "train", "val" or "test".
        split_fraction: The fractions of train, val and test of a single csv file.
        seed: The seed of that division.

    Returns:
        A `Split`; `boxes` is None without a `boxes.json`.

    Raises:
        FileNotFoundError: The folder or the csv file of the split is missing.
        ValueError: The content of a file is invalid, or the split has no images.
    """
    data_dir = Path(data_dir)
    available = split_names(data_dir)
    if split not in available:
        raise FileNotFoundError(
            f"There is no split {split!r} in {data_dir}. Expected one of: "
            f"{', '.join(available)}; as in\n{TREE}\nReceived: split={split!r}"
        )
    allowed = _read_label_list(data_dir / "labels.txt")
    single = _single_csv(data_dir)
    files = [single] if single else [data_dir / f"{name}.csv" for name in available]
    tables = {file.name: _read_table(file, allowed) for file in files}
    label_names = allowed or tuple(
        sorted({name for names, _ in tables.values() for name in names})
    )
    if not label_names:
        raise ValueError(
            f"The csv files of {data_dir} name no label. Expected at least one. "
            f"Received: {', '.join(tables)}"
        )
    if single:
        rows = tables[single.name][1]
        chosen = _divide(len(rows), split_fraction, seed)[split]
        rows = [rows[i] for i in chosen]
    else:
        rows = tables[f"{split}.csv"][1]
    if not rows:
        raise ValueError(
            f"The split {split!r} of {data_dir} has no images. Expected at least one "
            f"row. Received: {len(tables)} csv file(s) with "
            f"{sum(len(table) for _, table in tables.values())} row(s) together"
        )
    check_label_names(label_names, data_dir)
    columns = {name: i for i, name in enumerate(label_names)}
    labels = np.empty((len(rows), len(label_names)), np.int8)
    for i, row in enumerate(rows):
        labels[i] = row.default
        for name, mark in row.marks.items():
            labels[i, columns[name]] = mark
    all_images = {row.image for _, table in tables.values() for row in table}
    boxes, box_notes = _boxes(data_dir / "boxes.json", rows, all_images, label_names)
    return Split(
        images=tuple(str(data_dir / row.image) for row in rows),
        names=tuple(row.image for row in rows),
        labels=labels,
        label_names=label_names,
        boxes=boxes,
        notes=(*_notes(split, tables), *box_notes),
    )


def split_names(data_dir):
    """Returns the splits of a folder with csv files, in the order of `SPLITS`."""
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise FileNotFoundError(
            f"There is no folder {data_dir}. Expected\n{TREE}\n"
            f"Received: data_dir={str(data_dir)!r}"
        )
    if _single_csv(data_dir):
        return SPLITS
    found = tuple(name for name in SPLITS if (data_dir / f"{name}.csv").is_file())
    if not found:
        others = sorted(path.name for path in data_dir.glob("*.csv"))
        raise FileNotFoundError(
            f"No csv file to read in {data_dir}. Expected\n{TREE}\n"
            f"Received: {', '.join(others) or 'no csv file'}"
        )
    return found


def _single_csv(data_dir):
    """Returns the single csv file of all splits, None if the splits have their own."""
    if any((data_dir / f"{name}.csv").is_file() for name in SPLITS):
        return None
    for name in SINGLE_NAMES:
        if (data_dir / name).is_file():
            return data_dir / name
    files = list(data_dir.glob("*.csv"))
    return files[0] if len(files) == 1 else None


def _divide(count, fractions, seed):
    """Returns the row numbers of each split, in the order of the file."""
    fractions = tuple(fractions)
    positive = all(fraction >= 0 for fraction in fractions)
    if len(fractions) != 3 or not positive or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            "`split_fraction` is invalid. Expected three fractions (train, val, test), "
            f"none negative, that add up to 1. Received: {fractions}"
        )
    order = np.random.default_rng(seed).permutation(count)
    ends = np.round(np.cumsum(fractions) * count).astype(int)
    parts = np.split(order, ends[:2])
    return {name: sorted(part) for name, part in zip(SPLITS, parts, strict=True)}


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


def _read_table(path, allowed):
    """Reads a csv file.

    Args:
        path: The file.
        allowed: The label names that are allowed; empty for all.

    Returns:
        The set of label names in the file and its list of rows.
    """
    try:
        # Excel writes a byte order mark before the first column's name.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, line) for line in reader if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, "comma-separated UTF-8 text", error) from error
    if not lines:
        raise ValueError(
            f"{path} is empty. Expected a line of column names, as in\n{TREE}\n"
            "Received: an empty file"
        )
    header = [name.strip() for name in lines[0][1]]
    image_column = header.index("image") if "image" in header else 0
    rest = [i for i in range(len(header)) if i != image_column]
    if not rest or len(set(header)) < len(header) or "" in header:
        raise ValueError(
            f"{path} needs a column of images, then `labels` or one column per label, "
            f"each named once. Expected\n{TREE}\nReceived: columns {header}"
        )
    by_name = "labels" in header
    rows, names, row_of = [], set() if by_name else {header[i] for i in rest}, {}
    if not by_name:
        _check_allowed(names, allowed, f"the columns of {path}")
    for number, line in lines[1:]:
        where = f"row {number} of {path}"
        if len(line) != len(header):
            raise ValueError(
                f"The columns of {where} do not match the header. Expected "
                f"{len(header)} of them. Received: {line}"
            )
        image = path_inside(line[image_column].strip(), where)
        if image in row_of:
            raise ValueError(
                f"An image is named twice. Expected one row per image. Received: "
                f"{image!r} in {where} and in {row_of[image]}"
            )
        row_of[image] = where
        if by_name:
            marks = _named_marks(line[header.index("labels")], where)
            _check_allowed(marks, allowed, where)
            names |= set(marks)
        else:
            marks = {header[i]: _column_mark(line[i], header[i], where) for i in rest}
        # A label without a column was never annotated.
        rows.append(_Row(image, marks, 0 if by_name else -1))
    return names, rows


def _unreadable(path, expected, error):
    return ValueError(f"{path} cannot be read. Expected {expected}. Received: {error}")


def _check_allowed(names, allowed, where):
    unknown = sorted(set(names) - set(allowed)) if allowed else []
    if unknown:
        raise ValueError(
            f"Unknown label in {where}. Expected the names of labels.txt: "
            f"{', '.join(allowed)}. Received: {', '.join(map(repr, unknown))}"
        )


def _named_marks(cell, where):
    marks = {}
    for entry in cell.split(";"):
        entry = entry.strip()
        name, mark = (entry[1:].strip(), -1) if entry.startswith("?") else (entry, 1)
        if not name and not entry:
            continue
        if not name or marks.get(name, mark) != mark:
            raise ValueError(
                f"The labels of {where} cannot be read. Expected names separated by "
                f"';', unknown ones as '?name', and no name as both. "
                f"Received: {cell!r}"
            )
        marks[name] = mark
    return marks


def _column_mark(cell, name, where):
    marks = {"1": 1, "0": 0, "": -1, "-1": -1}
    if cell.strip() not in marks:
        raise ValueError(
            f"The label {name!r} in {where} cannot be read. Expected 1, 0, or -1 or "
            f"nothing if it is unknown. Received: {cell!r}"
        )
    return marks[cell.strip()]


def _boxes(path, rows, all_images, label_names):
    """Returns the boxes of the rows, None without the file, and notes for the log."""
    if not path.is_file():
        return None, ()
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


def _notes(split, tables):
    """Returns a sentence per other split that contains images of this one."""
    notes = []
    own = {row.image for row in tables.get(f"{split}.csv", ((), ()))[1]}
    for name, (_, rows) in tables.items():
        shared = sum(row.image in own for row in rows)
        if shared and name != f"{split}.csv":
            notes.append(f"{shared} images of {split}.csv are in {name}, too.")
    return tuple(notes)
