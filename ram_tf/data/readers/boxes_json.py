"""Reads `boxes.json`, the boxes that people bring beside a csv or VOC folder."""

import json

import numpy as np


def note_strangers(path, keys, known):
    """What is to be told of keys that name no image.

    Args:
        path: The `boxes.json`.
        keys: Its keys.
        known: The keys that an image could have.

    Returns:
        A tuple of one sentence, empty where there is nothing to tell.
    """
    strangers = sorted(set(keys) - set(known))
    if not strangers:
        return ()
    return (
        f"{len(strangers)} of {len(keys)} keys of {path} name no image of the data "
        f"set, such as {strangers[0]!r}: their boxes count for nothing",
    )


def read_boxes(path, label_names):
    """Reads the boxes of a `boxes.json`.

    Args:
        path: A file that holds, per image, a list of
            `{"label": name, "box": [xmin, ymin, xmax, ymax]}`, in fractions of the
            image.
        label_names: The names that may occur.

    Returns:
        A dict from the image's key to a dict from label name to a `(m, 4)` float32
        array of `ymin, xmin, ymax, xmax`.

    Raises:
        ValueError: The file is not of that form, or names another label.
    """
    with open(path, encoding="utf-8") as file:
        try:
            entries = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path} is not JSON. Expected boxes by image. Received: {error}"
            ) from error
    lists = entries.values() if isinstance(entries, dict) else [None]
    if not all(isinstance(objects, list) for objects in lists):
        raise ValueError(
            f"{path} holds no boxes by image. Expected a list of boxes for each image. "
            f"Received: a {type(entries).__name__}"
        )
    boxes = {}
    for key, objects in entries.items():
        found = {}
        for entry in objects:
            if not isinstance(entry, dict):
                raise ValueError(
                    f"An object of {path}, image {key!r}, cannot be read. Expected "
                    f'{{"label": name, "box": [...]}}. Received: {entry!r}'
                )
            if entry.get("label") not in label_names:
                raise ValueError(
                    f"Unknown label in {path}, image {key!r}. Expected one of: "
                    f"{', '.join(label_names)}. Received: {entry.get('label')!r}"
                )
            box = entry.get("box")
            if not _is_box(box):
                raise ValueError(
                    f"A box of {path}, image {key!r}, cannot be read. Expected four "
                    "fractions xmin <= xmax and ymin <= ymax, in the order xmin, "
                    f"ymin, xmax, ymax. Received: {box!r}"
                )
            xmin, ymin, xmax, ymax = box
            found.setdefault(entry["label"], []).append((ymin, xmin, ymax, xmax))
        boxes[key] = {k: as_boxes(v) for k, v in found.items()}
    return boxes


def as_boxes(rows):
    """Makes the array of a list of boxes.

    Returns:
        `(m, 4)` float32.

    Raises:
        ValueError: They are not four finite numbers each.
    """
    try:
        with np.errstate(over="ignore"):
            boxes = np.asarray(rows, np.float32)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a box that is no four numbers ({error})") from error
    if boxes.shape != (len(rows), 4) or not np.isfinite(boxes).all():
        raise ValueError("a box that is no four finite numbers")
    return boxes


def _is_box(box):
    if not isinstance(box, list) or len(box) != 4:
        return False
    # Beyond this they are none of an image, and some no floats.
    if not all(isinstance(v, int | float) and abs(v) < 1e6 for v in box):
        return False
    return box[0] <= box[2] and box[1] <= box[3]
