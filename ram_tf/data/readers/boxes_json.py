"""Reads `boxes.json`, the boxes of objects in a csv or VOC folder."""

import json

import numpy as np


def unknown_key_notes(path, keys, image_keys):
    """Returns the sentence for the log on keys that name no image.

    Args:
        path: The `boxes.json`.
        keys: Its keys.
        image_keys: All keys that name an image.

    Returns:
        A tuple of one sentence, empty if all keys name images.
    """
    unknown = sorted(set(keys) - set(image_keys))
    if not unknown:
        return ()
    return (
        f"{len(unknown)} of {len(keys)} keys of {path} name no image of the dataset, "
        f"such as {unknown[0]!r}: their boxes are ignored",
    )


def read_boxes(path, label_names):
    """Reads the boxes of a `boxes.json`.

    Args:
        path: A JSON file with a list of
            `{"label": name, "box": [xmin, ymin, xmax, ymax]}` per image, in fractions
            of the image as it is shown, turned upright by EXIF.
        label_names: The allowed label names.

    Returns:
        A dict from the image's key to a dict from label name to a `(m, 4)` float32
        array of `ymin, xmin, ymax, xmax`.

    Raises:
        ValueError: The file has another form, or names another label.
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
    """Returns a list of m boxes as a `(m, 4)` float32 array.

    Raises:
        ValueError: A box is not four finite numbers.
    """
    try:
        with np.errstate(over="ignore"):
            boxes = np.asarray(rows, np.float32)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a box is not four numbers ({error})") from error
    if boxes.shape != (len(rows), 4) or not np.isfinite(boxes).all():
        raise ValueError("a box is not four finite numbers")
    return boxes


def _is_box(box):
    if not isinstance(box, list) or len(box) != 4:
        return False
    # Larger ones are not fractions, and integers may be too large for a float.
    if not all(isinstance(v, int | float) and abs(v) < 1e6 for v in box):
        return False
    return box[0] <= box[2] and box[1] <= box[3]
