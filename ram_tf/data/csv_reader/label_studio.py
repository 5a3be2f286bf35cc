"""Reads what Label Studio exports: JSON, JSON-MIN and CSV.

The labels of an image are its choices, and those of rectangles and other regions on it,
which are also its boxes. Several annotations of a task are joined.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ram_tf.data.csv_reader import csv_cells
from ram_tf.data.csv_reader.image_rows import ImageRow, ImageRows
from ram_tf.data.csv_reader.uploaded_images import UploadedImages
from ram_tf.data.readers.boxes_json import as_boxes
from ram_tf.data.split import shortened

# Keys and columns that are about an annotation.
ABOUT = frozenset(
    "id annotation_id annotator created_at updated_at lead_time agreement comments "
    "completed_by inner_id cancelled_annotations total_annotations history".split()
)
# Columns of choices, of which the names of single choices are written without JSON.
CHOICE_COLUMNS = frozenset(("choice", "choices", "label", "labels", "tag", "tags"))
_JSON = re.compile(r'\s*(\{\s*"choices"|\[\s*\{\s*"|\[\s*\])')
_LABEL_KEYS = re.compile(r"choices|\w*labels")
_IMAGE_NAME = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?)\b", re.IGNORECASE)


class Annotation(NamedTuple):
    """The labels and boxes of one annotation, and the kinds of results passed over."""

    labels: set[str]
    boxes: dict[str, list]
    others: Counter


def is_csv(header, lines):
    """Whether a csv file with this header and these lines was exported."""
    if "annotation_id" in header:
        return True
    cells = (cell for _, line in lines[:50] for cell in line)
    return any(cell.lstrip().startswith('{"choices"') for cell in cells)


def read_csv(path, text, folder):
    """Reads an exported csv file.

    Args:
        path: The file.
        text: Its `CsvText`.
        folder: The data folder, in which images are looked for.

    Returns:
        The `ImageRows`.

    Raises:
        ValueError: A row cannot be read.
    """
    header, lines = text.header, text.lines
    image_column = _image_column(header, lines)
    split_columns = [n for n in ("split", "is_valid") if n in header]
    structured = {
        i for _, line in lines for i, cell in enumerate(line) if _JSON.match(cell)
    }
    columns = [
        i
        for i, name in enumerate(header)
        if i != image_column and (i in structured or name in CHOICE_COLUMNS)
    ]
    if not columns:
        raise ValueError(
            f"{path} is an export of Label Studio without labels. Expected a column "
            f"of choices or rectangle labels. Received: {', '.join(header)}"
        )
    used = {image_column, *columns}
    passed = [
        name
        for i, name in enumerate(header)
        if i not in used and name not in ABOUT and name not in split_columns[:1]
    ]
    tasks = []
    for number, line in lines:
        where = f"row {number} of {path}"
        split = None
        if split_columns:
            name = split_columns[0]
            split = csv_cells.split_name(line[header.index(name)], name, where)
        found = Annotation(set(), {}, Counter())
        for i in columns:
            _add_value(found, _parsed(line[i], where), header[i], where)
        tasks.append((where, line[image_column], [found], split))
    notes = []
    if passed:
        notes.append(f"columns of {path.name} passed over: {shortened(passed)}")
    return _rows(path, tasks, folder, notes)


def read_json(path, folder):
    """Reads an exported JSON or JSON-MIN file.

    Args:
        path: The file.
        folder: The data folder, in which images are looked for.

    Returns:
        The `ImageRows`.

    Raises:
        ValueError: The file is no export of Label Studio.
    """
    try:
        content = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not JSON. Expected an export of Label Studio. Received: {error}"
        ) from error
    if not isinstance(content, list) or not all(isinstance(t, dict) for t in content):
        raise ValueError(
            f"{path} is no export of Label Studio. Expected a list of tasks. Received: "
            f"a {type(content).__name__}"
        )
    tasks, empty = [], 0
    for number, entry in enumerate(content, 1):
        where = f"task {entry.get('id', number)!r} of {path}"
        data = entry.get("data", entry)
        image = _image_of(data, where)
        if data is entry:
            found = [_minimal(entry, image, where)]
        else:
            annotations = entry.get("annotations", entry.get("completions", []))
            found = _annotations(annotations, where)
        if not found:
            empty += 1
            continue
        split = None
        if isinstance(data.get("split"), str):
            split = csv_cells.split_name(data["split"], "split", where)
        tasks.append((where, image, found, split))
    notes = []
    if empty:
        notes.append(
            f"{empty} of {len(content)} tasks of {path.name} have no annotation, or "
            "were skipped, and are left out"
        )
    return _rows(path, tasks, folder, notes)


def _image_column(header, lines):
    if "image" in header:
        return header.index("image")
    for i, name in enumerate(header):
        if name not in ABOUT and any(_IMAGE_NAME.search(li[i]) for _, li in lines[:50]):
            return i
    return 0


def _image_of(data, where):
    """Returns the path or address of a task's image."""
    if isinstance(data, dict):
        image = data.get("image")
        if isinstance(image, str):
            return image
        for value in data.values():
            if isinstance(value, str) and _IMAGE_NAME.search(value):
                return value
    raise ValueError(
        f"There is no image in {where}. Expected the path of an image in its data. "
        f"Received: {list(data)[:9] if isinstance(data, dict) else type(data).__name__}"
    )


def _minimal(entry, image, where):
    found = Annotation(set(), {}, Counter())
    for name, value in entry.items():
        known = name in CHOICE_COLUMNS or isinstance(value, list | dict)
        if name not in ABOUT and value != image and known:
            _add_value(found, value, name, where)
    return found


def _annotations(annotations, where):
    """Returns the annotations of a task that were not skipped."""
    if not isinstance(annotations, list):
        raise _unreadable(where, annotations)
    found = []
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise _unreadable(where, annotation)
        if annotation.get("was_cancelled"):
            continue
        results = annotation.get("result", [])
        if not isinstance(results, list):
            raise _unreadable(where, results)
        found.append(Annotation(set(), {}, Counter()))
        for result in results:
            if not isinstance(result, dict):
                raise _unreadable(where, result)
            _add_result(found[-1], result, where)
    return found


def _add_result(found, result, where):
    value, kind = result.get("value"), str(result.get("type"))
    if not isinstance(value, dict):
        found.others[kind] += 1
        return
    # A rectangle and its label may be two results; the label's has the box, too.
    sizes = {k: result.get(k) for k in ("original_width", "original_height")}
    if not _add_region(found, {**sizes, **value}, where):
        found.others[kind] += 1


def _parsed(cell, where):
    if not _JSON.match(cell):
        return cell.strip()
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise _unreadable(where, cell) from error


def _add_value(found, value, name, where):
    """Adds a value of JSON-MIN or of a csv's cell: a choice, or regions."""
    if isinstance(value, str):
        if value.strip():
            found.labels.add(value.strip())
        return
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            found.labels.add(entry)
        elif not isinstance(entry, dict):
            raise _unreadable(where, entry)
        elif not _add_region(found, entry, where):
            found.others[name] += 1


def _add_region(found, value, where):
    """Adds labels, and the box that goes with them; False if there are no labels."""
    labels = [
        label
        for key, names in value.items()
        if _LABEL_KEYS.fullmatch(key) and isinstance(names, list)
        for label in names
    ]
    if not all(isinstance(label, str) for label in labels):
        raise _unreadable(where, labels)
    has_key = any(_LABEL_KEYS.fullmatch(key) for key in value)
    found.labels.update(labels)
    if labels and "choices" not in value and ("width" in value or "points" in value):
        box = _box(value)
        if box is None:
            found.others["boxes that cannot be read"] += 1
        else:
            for label in labels:
                found.boxes.setdefault(label, []).append(box)
    return has_key


def _box(value):
    """Returns the box `ymin, xmin, ymax, xmax` of a region in percent, or None."""
    try:
        if "points" in value:
            corners = [(float(x) / 100, float(y) / 100) for x, y in value["points"]]
        else:
            corners = _corners(value)
        xs, ys = zip(*corners, strict=True)
        # Beyond the border there is nothing to see.
        box = [min(max(v, 0.0), 1.0) for v in (min(ys), min(xs), max(ys), max(xs))]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    finite = all(math.isfinite(v) for corner in corners for v in corner)
    return box if finite and box[0] <= box[2] and box[1] <= box[3] else None


def _corners(value):
    """Returns the corners of a rectangle, which turns around its top left one."""
    x, y, width, height = (float(value[k]) / 100 for k in ("x", "y", "width", "height"))
    angle = math.radians(float(value.get("rotation") or 0))
    if width < 0 or height < 0:
        raise ValueError("a negative size")
    ratio = 1.0
    if angle:
        # A rotation is of pixels, not of fractions.
        ratio = float(value["original_width"]) / float(value["original_height"])
        if ratio <= 0:
            raise ValueError("no size of the image")
    cos, sin = math.cos(angle), math.sin(angle)
    return [
        (x + (a * cos * ratio - b * sin) / ratio, y + a * sin * ratio + b * cos)
        for a, b in ((0, 0), (width, 0), (0, height), (width, height))
    ]


def _rows(path, tasks, folder, notes):
    """Joins the annotations of each image to rows."""
    images, joined = UploadedImages(folder), {}
    for where, image, found, split in tasks:
        name = images.find(image, where)
        earlier = joined.setdefault(name, (where, [], split))
        if earlier[2] != split:
            raise ValueError(
                f"An image is in two splits. Expected one. Received: {name!r} in "
                f"{where} and in {earlier[0]}"
            )
        earlier[1].extend(found)
    names, rows, others, differing = {}, [], Counter(), 0
    for name, (where, found, split) in joined.items():
        labels = sorted(set().union(*(a.labels for a in found)))
        differing += any(set(labels) != a.labels for a in found)
        boxes = {}
        for annotation in found:
            others.update(annotation.others)
            for label, each in annotation.boxes.items():
                boxes.setdefault(label, []).extend(each)
        for label in labels:
            names.setdefault(label, where)
        boxes = {label: as_boxes(each) for label, each in boxes.items()}
        rows.append(ImageRow(name, dict.fromkeys(labels, 1), 0, split, boxes))
    if differing:
        notes.append(
            f"{differing} images of {path.name} have annotations that differ: a label "
            "that one of them gives counts as present"
        )
    if others:
        kinds = ", ".join(f"{count} of {kind}" for kind, count in others.items())
        notes.append(f"results of {path.name} passed over: {kinds[:500]}")
    if not any(row.boxes for row in rows):
        rows = [row._replace(boxes=None) for row in rows]
    return ImageRows(names, rows, tuple(notes))


def _unreadable(where, received):
    return ValueError(
        f"{where[:1].upper()}{where[1:]} cannot be read. Expected what Label Studio "
        f"exports: choices or regions with labels. Received: {str(received)[:200]!r}"
    )
