"""Reads the rows of a csv file of images: what each column is, and the labels."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ram_tf.data.csv_reader import csv_cells, csv_text, label_studio, unsplit_labels
from ram_tf.data.csv_reader.image_rows import ImageRow, ImageRows
from ram_tf.data.split import path_inside, shortened

# Names of a column that lists labels by name. Those after the first may also be labels.
LIST_COLUMNS = ("labels", "label", "tags", "choice", "choices")
SPLIT_COLUMNS = ("split", "is_valid")
_IMAGE = re.compile(r"\S.*\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?)", re.IGNORECASE)
# What pandas calls the column of row numbers.
_INDEX = re.compile(r"|unnamed: \d+", re.IGNORECASE)


class Columns(NamedTuple):
    """What the columns of a csv file are, by their positions.

    Args:
        image: Of the paths.
        listed: Of the labels by name; None if labels have a column each.
        labels: Of the labels with a column each.
        split: Of the splits; None without one.
        passed: Of what is passed over.
    """

    image: int
    listed: int | None
    labels: Sequence[int]
    split: int | None
    passed: Sequence[int]


def read(path, allowed, tree, use_split=True):
    """Reads a csv file of images, ours or one that Label Studio exported.

    Args:
        path: The file.
        allowed: The label names that are allowed; empty for all.
        tree: The layout of the folder, for error messages.
        use_split: Whether a column `split` or `is_valid` says where a row belongs;
            otherwise it is passed over.

    Returns:
        The `ImageRows`.

    Raises:
        ValueError: The content of the file is invalid.
    """
    path = Path(path)
    text = csv_text.read(path, tree)
    _check_header_exists(path, text, tree)
    if label_studio.is_csv(text.header, text.lines):
        found = label_studio.read_csv(path, text, path.parent)
        check_allowed(found.names, allowed, path)
        return found
    columns = _columns(path, text, tree)
    header = text.header
    names = {header[i]: None for i in columns.labels}
    check_allowed(names, allowed, f"the columns of {path}")
    notes = []
    passed = list(columns.passed)
    split = columns.split
    if split is not None and not use_split:
        passed.append(split)
        split = None
    if passed:
        described = [header[i] or f"column {i + 1} without a name" for i in passed]
        notes.append(
            f"{len(passed)} columns of {path.name} are passed over: "
            f"{shortened(described)}"
        )
    if any(header[i].lower() == "split" for i in columns.labels):
        notes.append(
            f"the column 'split' of {path.name} holds 1 and 0 and is taken as a label"
        )
    rows, row_of = [], {}
    for number, line in text.lines:
        where = f"row {number} of {path}"
        image = path_inside(line[columns.image].strip(), where)
        if image in row_of:
            raise ValueError(
                f"An image is named twice. Expected one row per image. Received: "
                f"{image!r} in {where} and in {row_of[image]}"
            )
        row_of[image] = where
        if columns.listed is not None:
            marks = csv_cells.named_marks(line[columns.listed], where)
            check_allowed(marks, allowed, where)
            for name in marks:
                names.setdefault(name, where)
        else:
            marks = {
                header[i]: csv_cells.column_mark(line[i], header[i], where)
                for i in columns.labels
            }
        own = None
        if split is not None:
            own = csv_cells.split_name(line[split], header[split], where)
        # A label without a column was never annotated.
        default = -1 if columns.listed is None else 0
        rows.append(ImageRow(image, marks, default, own))
    return ImageRows(names, rows, tuple(notes))


def splits_in(path, tree):
    """Returns the names of the splits in a file's column, empty without a column."""
    text = csv_text.read(path, tree)
    header = [name.lower() for name in text.header]
    if not set(SPLIT_COLUMNS) & set(header):
        return frozenset()
    if label_studio.is_csv(text.header, text.lines):
        found = label_studio.read_csv(Path(path), text, Path(path).parent)
        return frozenset(row.split for row in found.rows if row.split)
    split = _columns(path, text, tree).split
    if split is None:
        return frozenset()
    return frozenset(
        csv_cells.split_name(line[split], text.header[split], f"row {n} of {path}")
        for n, line in text.lines
    )


def check_allowed(names, allowed, where):
    """Raises a `ValueError` if a label is not one of `labels.txt`."""
    if not allowed:
        return
    known = set(allowed)
    unknown = sorted(set(names) - known)
    if unknown:
        parts = unsplit_labels.parts_in(unknown[0], known)
        hint = ", whose parts are labels: separate them by ';'" if parts else ""
        raise ValueError(
            f"Unknown label in {where}. Expected the names of labels.txt: "
            f"{', '.join(allowed)}. Received: {', '.join(map(repr, unknown))}{hint}"
        )


def _columns(path, text, tree):
    header, lines = text.header, text.lines
    image = _image_column(header, lines)
    others = [i for i in range(len(header)) if i != image]
    # A column of row numbers has no name, or the one that pandas gives it.
    has_name = _named(header, "image") is not None or image > 0
    index = [i for i in others if has_name and _INDEX.fullmatch(header[i])]
    rest = [i for i in others if i not in index]
    named = [header[i] for i in (image, *rest)]
    if not rest or len(set(named)) < len(named) or "" in named:
        raise ValueError(
            f"{path} needs a column of images, then `labels` or one column per label, "
            f"each named once, separated by commas, semicolons or tabs. Expected\n"
            f"{tree}\nReceived: columns {header}"
        )
    listed = None
    for name in LIST_COLUMNS:
        found = _named(header, name)
        if found in rest and (name == "labels" or not _all_marks(found, lines)):
            listed = found
            break
    splits = [_named(header, name) for name in SPLIT_COLUMNS]
    splits = [i for i in splits if i in rest and i != listed]
    if listed is None:
        # Without names in it, a column of that name is a label like the others.
        splits = [
            i
            for i in splits
            if header[i].lower() == "is_valid" or not _all_marks(i, lines)
        ]
    split = splits[0] if splits else None
    if listed is not None:
        passed = [i for i in others if i not in (listed, split)]
        return Columns(image, listed, (), split, passed)
    passed = [*index, *splits[1:]]
    labels = [i for i in rest if i not in splits]
    if not labels:
        raise ValueError(
            f"{path} has no column of labels. Expected\n{tree}\n"
            f"Received: columns {header}"
        )
    return Columns(image, None, labels, split, passed)


def _named(header, name):
    """Returns the position of a column, in any case if none has exactly the name."""
    if name in header:
        return header.index(name)
    found = [i for i, other in enumerate(header) if other.lower() == name]
    return found[0] if len(found) == 1 else None


def _image_column(header, lines):
    """Returns the column `image`, or the first that holds names of image files."""
    named = _named(header, "image")
    if named is not None:
        return named
    for i in range(len(header)):
        cells = [line[i].strip() for _, line in lines[:20]]
        if cells and all(map(_IMAGE.fullmatch, cells)):
            return i
    return 0


def _all_marks(column, lines):
    return all(csv_cells.mark(line[column]) is not None for _, line in lines)


def _check_header_exists(path, text, tree):
    """Raises a `ValueError` if the first line is an image in place of a header."""
    header, lines = text.header, text.lines
    if any(_named(header, name) is not None for name in ("image", "labels")):
        return
    first = [name for name in header if _IMAGE.fullmatch(name)]
    image = _image_column(header, lines)
    others = [name for i, name in enumerate(header) if i != image]
    cells = {line[image].strip() for _, line in lines[:20]}
    name = header[image]
    # Such as IMG_0001 above IMG_0002; or, beside labels named 0 and 1, a name as long
    # as those of all images.
    same_form = _form(name) in set(map(_form, cells)) and re.search(r"\d", name)
    same_length = len(name) > 4 and {len(name)} == set(map(len, cells))
    marks = others and all(n and csv_cells.mark(n) is not None for n in others)
    if first or same_form or (same_length and marks) or _is_file(path.parent, name):
        raise ValueError(
            f"{path} seems to have no header, because its first line holds an image. "
            f"Expected a line of column names before it, as in\n{tree}\n"
            f"Received: {header}"
        )


def _form(name):
    return re.sub(r"\d+", "0", name)


def _is_file(folder, name):
    try:
        return bool(name) and (folder / path_inside(name, "the header")).is_file()
    except (OSError, ValueError):
        return False
