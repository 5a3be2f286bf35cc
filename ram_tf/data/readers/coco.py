"""Reads MS-COCO 2014 or 2017 from its own folder layout."""

import json
import re
from pathlib import Path

import numpy as np

from ram_tf.data.readers.boxes_json import as_boxes
from ram_tf.data.split import Split, check_label_names, path_inside

YEARS = (2014, 2017)


def load(data_dir, split, year=None):
    """Reads one split of COCO.

    A label is present if the image has an annotation of that category, crowds included.
    Images without any label are dropped, as in the paper, and counted in the notes. The
    labels are in the order of their category IDs, which have gaps.

    Args:
        data_dir: The folder that contains `annotations/`.
        split: "train" or "val", with or without the year ("train2014").
        year: 2014 or 2017; None for the year found in the folder.

    Returns:
        A `Split`, with the boxes of all annotations.

    Raises:
        FileNotFoundError: The folder, or the annotations or images of the split, are
            missing.
        ValueError: The year is ambiguous, the annotations cannot be read, or the split
            has no images with labels.
    """
    data_dir = Path(data_dir)
    split = _with_year(data_dir, split, year)
    path = data_dir / "annotations" / f"instances_{split}.json"
    folder = data_dir / split
    for required in (path, folder):
        if not required.exists():
            raise FileNotFoundError(
                f"There is no {required}. Expected\n{_tree(split)}\n"
                f"Received: data_dir={str(data_dir)!r}, split={split!r}"
            )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        categories = sorted(content["categories"], key=lambda entry: entry["id"])
        images = {entry["id"]: entry for entry in content["images"]}
        columns = {entry["id"]: i for i, entry in enumerate(categories)}
        label_names = tuple(entry["name"] for entry in categories)
        present = {key: set() for key in images}
        boxes = {key: {} for key in images}
        for entry in content["annotations"]:
            key, column = entry["image_id"], columns[entry["category_id"]]
            present[key].add(column)
            x, y, width, height = entry["bbox"]
            across, down = images[key]["width"], images[key]["height"]
            boxes[key].setdefault(label_names[column], []).append(
                (y / down, x / across, (y + height) / down, (x + width) / across)
            )
        boxes = {
            key: {name: as_boxes(v) for name, v in found.items()}
            for key, found in boxes.items()
        }
        files = {key: entry["file_name"] for key, entry in images.items()}
    except (
        KeyError,
        TypeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{path} cannot be read. Expected COCO's instances: images, categories and "
            "annotations that refer to them. Received: "
            f"{type(error).__name__} {error}"
        ) from error
    check_label_names(label_names, path)
    kept = [key for key in images if present[key]]
    if not kept:
        raise ValueError(
            f"The split {split!r} of {data_dir} has no images with labels. Expected at "
            f"least one. Received: {len(images)} images in {path}"
        )
    files = {key: path_inside(files[key], f"{path}, image {key}") for key in kept}
    labels = np.zeros((len(kept), len(label_names)), np.int8)
    for i, key in enumerate(kept):
        labels[i, list(present[key])] = 1
    return Split(
        images=tuple(str(folder / files[key]) for key in kept),
        names=tuple(f"{split}/{files[key]}" for key in kept),
        labels=labels,
        label_names=label_names,
        boxes=tuple(boxes[key] for key in kept),
        notes=dropped_notes(len(images) - len(kept), len(images)),
    )


def dropped_notes(count, total):
    """Returns the sentence for the log on images without labels, in a tuple."""
    if not count:
        return ()
    return (f"{count} of {total} images without any label: dropped.",)


def _tree(split):
    return f"DATA_DIR/\n    annotations/instances_{split}.json\n    {split}/*.jpg"


def _with_year(data_dir, split, year):
    """Returns the split's name with the year, found in the folder if needed."""
    named = re.fullmatch(r"(.+?)(\d{4})", split)
    if named:
        if year is not None and str(year) != named[2]:
            raise ValueError(
                "The split and the year contradict each other. Expected one year. "
                f"Received: split={split!r}, year={year!r}"
            )
        return split
    if year is not None:
        return f"{split}{year}"
    found = [
        y
        for y in YEARS
        if (data_dir / "annotations" / f"instances_{split}{y}.json").is_file()
    ]
    if len(found) > 1:
        raise ValueError(
            f"{data_dir} contains {split!r} of several years. Expected one to be "
            f"chosen, by year={found[0]} or split='{split}{found[0]}'. "
            f"Received: {' and '.join(map(str, found))}"
        )
    if not found:
        raise FileNotFoundError(
            f"There is no split {split!r} in {data_dir}. Expected\n"
            f"{_tree(split + 'YEAR')}\nwhere YEAR is 2014 or 2017. "
            f"Received: data_dir={str(data_dir)!r}, split={split!r}"
        )
    return f"{split}{found[0]}"
