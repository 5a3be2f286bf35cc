"""Reads the entries of a COCO file, and refuses those that contradict each other."""

import json
from collections import defaultdict
from typing import NamedTuple

from ram_tf.data.split import check_label_names


class Instances(NamedTuple):
    """The entries of a file that can be used.

    Args:
        images: From an image's ID to its entry.
        categories: From a category's ID to its name, in the order of IDs.
        annotations: The entries of annotations of these images and categories.
        notes: Sentences for the log on what was left out.
        lost: The last of them, on annotations.
    """

    images: dict
    categories: dict
    annotations: list[dict]
    notes: tuple[str, ...]
    lost: tuple[str, ...]


def read(source):
    """Reads the `Instances` of a split.

    Args:
        source: Its `coco_layout.Source`.

    Raises:
        ValueError: The file has another form, or an ID stands for two images or
            categories.
    """
    content = _read_json(source.path)
    try:
        images, image_notes = _images(content["images"], source.path)
        categories, category_notes = _categories(content, source)
        annotations, lost = _annotations(content, images, categories)
        check_label_names(tuple(categories.values()), source.path)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(source.path, f"{type(error).__name__} {error}") from error
    notes = (*image_notes, *category_notes, *lost)
    return Instances(images, categories, annotations, notes, lost)


def categories(source):
    """Returns the names of the categories of the smallest file of a source.

    Raises:
        ValueError: As `read`.
    """
    path = min(source.siblings, key=lambda path: path.stat().st_size)
    content = _read_json(path)
    try:
        return tuple(_categories(content, source._replace(path=path))[0].values())
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, f"{type(error).__name__} {error}") from error


def _read_json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, f"{type(error).__name__} {error}") from error
    for part in ("images", "categories", "annotations"):
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) for entry in entries
        ):
            raise _unreadable(path, f"no list of {part}")
    return content


def _unreadable(path, received):
    return ValueError(
        f"{path} cannot be read. Expected COCO's instances: images, categories and "
        f"annotations that refer to them. Received: {received}"
    )


def _images(entries, path):
    """Returns the entries of images by ID, and notes; refuses an ID of two images."""
    images, repeated = {}, 0
    for entry in entries:
        earlier = images.setdefault(entry["id"], entry)
        if earlier["file_name"] != entry["file_name"]:
            raise ValueError(
                f"Two images of {path} have one ID, so that it is not known whose the "
                f"labels are. Expected an ID for each image. Received: {entry['id']!r} "
                f"for {earlier['file_name']!r} and {entry['file_name']!r}"
            )
        repeated += earlier is not entry
    if not repeated:
        return images, ()
    note = f"{repeated} images of {path} are listed again under the same ID"
    return images, (f"{note}: they are read once",)


def _categories(content, source):
    """Returns the names of labels by ID, in its order, and notes.

    Refuses an ID of two categories, and leaves out one that only groups the others.
    """
    names = {}
    for entry in content["categories"]:
        if names.setdefault(entry["id"], entry["name"]) != entry["name"]:
            raise ValueError(
                f"Two categories of {source.path} have one ID. Expected an ID for each "
                f"category. Received: {entry['id']!r} for {names[entry['id']]!r} and "
                f"{entry['name']!r}"
            )
    group = _group(content["categories"])
    if group is not None and not any(
        group in _annotated(path, content, source) for path in source.siblings
    ):
        note = (
            f"the category {names.pop(group)!r} (ID {group}) only groups the others "
            "and has no annotation: it is no label"
        )
        return dict(sorted(names.items())), (note,)
    return dict(sorted(names.items())), ()


def _group(categories):
    """Returns the ID of a category 0 that is the group of all others, or None."""
    first = [entry for entry in categories if entry["id"] == 0]
    others = [entry for entry in categories if entry["id"] != 0]
    if len(first) != 1 or not others:
        return None
    name = first[0]["name"]
    # The tool's own mark; a group that is in another group is somebody's label.
    on_top = first[0].get("supercategory") in (None, "", "none", name)
    grouped = all(entry.get("supercategory") == name for entry in others)
    return 0 if on_top and grouped else None


def _annotated(path, content, source):
    """Returns the IDs of categories with annotations in the file of a split."""
    try:
        if path != source.path:
            content = _read_json(path)
        return {entry["category_id"] for entry in content["annotations"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # reported when that split is read


def _annotations(content, images, categories):
    """Returns the annotations of listed images and categories, and notes."""
    used, lost = [], defaultdict(list)
    for entry in content["annotations"]:
        if entry["image_id"] not in images:
            lost["images"].append(entry)
        elif entry["category_id"] not in categories:
            lost["categories"].append(entry)
        else:
            used.append(entry)
    return used, tuple(
        f"{len(entries)} of {len(content['annotations'])} annotations are of {kind} "
        f"that are not listed, such as annotation {entries[0].get('id')!r} of image "
        f"{entries[0]['image_id']!r}, category {entries[0]['category_id']!r}: they are "
        "left out"
        for kind, entries in lost.items()
    )
