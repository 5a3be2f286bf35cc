"""Finds the annotations and the images of a split in a COCO folder, as tools leave it.

Next to COCO's own layout, `annotations/instances_train2017.json` with `train2017/`,
these are the same without a year, a folder for each split with its annotations beside
its images (Roboflow), and one file for all images (CVAT, Label Studio).
"""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from ram_tf.data.split import path_inside

SPLITS = ("train", "val", "test")
# Other names of a split's folder and file, by its name.
ALIASES = {"val": ("valid", "validation")}
# Names of a split's file, in lower case.
STEMS = (
    "{}",
    "instances_{}",
    "annotations_{}",
    "coco_{}",
    "{}_annotations",
    "{}_coco",
    "{}.coco",
    "{}_annotations.coco",
)
# Names of a file with the annotations of all images beside or above it.
WHOLE = (
    "_annotations.coco",
    "instances_default",
    "result",
    "annotations",
    "instances",
    "labels",
    "coco",
)
# Folders of images next to a file with annotations, or above its folder.
IMAGE_FOLDERS = ("images", "data", "JPEGImages")
TREE = """\
DATA_DIR/
    annotations/instances_{split}.json      with {split}/*.jpg or images/{split}/*.jpg
or  {split}/_annotations.coco.json             with {split}/*.jpg
or  annotations/instances_default.json      with images/*.jpg: one file for all images,
or  result.json                             which is divided by --split_fraction"""


class Source(NamedTuple):
    """Where a split is read from.

    Args:
        path: The file with its annotations.
        siblings: The files of all splits, this one included.
        named: The folders that may contain its images, the likeliest first.
        around: The folders that contain others, and perhaps its images, too.
        is_whole: Whether the file contains all images, to be divided into splits.
    """

    path: Path
    siblings: tuple[Path, ...]
    named: tuple[Path, ...]
    around: tuple[Path, ...]
    is_whole: bool


def find(data_dir, split, year=None):
    """Finds the annotations of a split.

    Args:
        data_dir: The folder.
        split: Its name, with or without a year.
        year: The year; None for the one found in the folder.

    Returns:
        A `Source`.

    Raises:
        FileNotFoundError: The split is missing.
        ValueError: There are several files for it, or the years contradict each other.
    """
    data_dir = Path(data_dir)
    with_year = _with_year(data_dir, split, year)
    if with_year:
        path = data_dir / "annotations" / f"instances_{with_year}.json"
        if path.is_file():
            siblings = _of_year(data_dir, with_year[-4:])
            return _source(data_dir, path, siblings, (with_year, split))
    # A year that was asked for is not left out.
    found = _of_split(data_dir, split) if year is None else []
    if len(found) > 1:
        raise ValueError(
            f"{data_dir} contains {split!r} several times. Expected one file of its "
            f"annotations. Received: {_listed(data_dir, found)}"
        )
    if found:
        siblings = [path for name in SPLITS for path in _of_split(data_dir, name)]
        return _source(data_dir, found[0], siblings, _names(split))
    whole = whole_file(data_dir) if split in SPLITS and year is None else None
    if whole:
        return _source(data_dir, whole, [whole], ("default",), is_whole=True)
    raise FileNotFoundError(
        f"There is no split {split!r} in {data_dir}. Expected\n"
        f"{TREE.format(split=with_year or f'{split}YEAR')}\n"
        "where YEAR is that of COCO, or is left out. Received: "
        f"data_dir={str(data_dir)!r}, split={split!r}, and in the folder "
        f"{_listed(data_dir, _json_files(data_dir)) or 'no file of annotations'}"
    )


def _source(data_dir, path, siblings, names, is_whole=False):
    """Returns the `Source` of a file with images in folders of these names."""
    beside = path.parent
    nested = beside.name == "annotations" and beside != data_dir
    above = beside.parent if nested else beside
    own = path.stem.removeprefix("instances_")
    names = dict.fromkeys((*names, own))
    named = [
        base / folder
        for base in dict.fromkeys((data_dir, above))
        for folder in (
            *names,
            *(f"{place}/{name}" for place in IMAGE_FOLDERS for name in names),
            *(f"{name}/{place}" for place in IMAGE_FOLDERS for name in names),
            *IMAGE_FOLDERS,
        )
    ]
    around = [beside, above, data_dir]
    return Source(
        path,
        tuple(siblings),
        tuple(dict.fromkeys(named)),
        tuple(folder for folder in dict.fromkeys(around) if folder not in named),
        is_whole,
    )


def split_names(data_dir):
    """Returns the splits of a folder, in the order of `SPLITS`; empty without any.

    COCO's own layout, with a year, has no labelled `test`: it is not among them.
    """
    data_dir = Path(data_dir)
    found = [
        name
        for name in SPLITS
        if (name != "test" and _years(data_dir, name)) or _of_split(data_dir, name)
    ]
    return tuple(found) or (SPLITS if whole_file(data_dir) else ())


def whole_file(data_dir):
    """Returns the file for all images of a folder, None if its splits have their own.

    It has a name that tools give it, or is the only JSON file in its folder.
    """
    if any(_of_split(data_dir, name) or _years(data_dir, name) for name in SPLITS):
        return None
    return _whole_in(data_dir) or _whole_in(data_dir / "annotations")


def place_images(entries, source, data_dir):
    """Finds the file of each image.

    Tools write paths from the folder of the split, from one above it, or of the machine
    that they ran on, with either separator. All images are looked for in one folder,
    that in which most are found, by the path given, or else by its last parts.

    Args:
        entries: A dict from the image's key to its `file_name`.
        source: The `Source`.
        data_dir: The data folder.

    Returns:
        A dict from key to the file's path, and one to its path below `data_dir`, in
        normalised spelling. A missing image is in the likeliest place.

    Raises:
        FileNotFoundError: There is no folder of images.
        ValueError: A path leads out of the data folder and no such image is there, or
            two images are the same file though their paths differ.
    """
    best, most, places = None, 0, {}
    for folder in (*source.named, *source.around):
        if not folder.is_dir():
            continue
        found = _found_in(folder, entries)
        if len(found) > most:
            best, most, places = folder, len(found), found
        elif best is None and folder in source.named:
            # Its images may not have been copied yet.
            best = folder
        if most == len(entries):
            break
    if best is None:
        raise FileNotFoundError(
            f"There are no images of {source.path}. Expected them in "
            f"{source.named[0]}/*.jpg, or in one of the folders "
            f"{_listed(data_dir, source.named[1:])}. "
            f"Received: data_dir={str(data_dir)!r}"
        )
    _check_distinct(entries, places, source.path)
    inside = {
        key: places[key]
        if key in places
        else path_inside(name, f"{source.path}, image {key}")
        for key, name in entries.items()
    }
    prefix = "" if best == data_dir else f"{best.relative_to(data_dir).as_posix()}/"
    files = {key: str(best / place) for key, place in inside.items()}
    return files, {key: f"{prefix}{place}" for key, place in inside.items()}


def _found_in(folder, entries):
    """Returns the paths below a folder of the images that are there, by key."""
    found = {}
    shortened = {}
    for key, name in entries.items():
        parts = _parts(name)
        last = max((i for i, part in enumerate(parts) if part == ".."), default=-1) + 1
        absolute = isinstance(name, str) and name.startswith(("/", "\\"))
        for start in range(last, len(parts)):
            place = "/".join(parts[start:])
            if os.path.isfile(os.path.join(folder, place)):
                whole = not start and not absolute
                (found if whole else shortened)[key] = place
                break
    taken = set(found.values())
    return found | {k: place for k, place in shortened.items() if place not in taken}


def _parts(name):
    if not isinstance(name, str) or "\0" in name:
        return []
    parts = [part for part in re.split(r"[/\\]+|\?d=", name) if part not in ("", ".")]
    # A drive, or the beginning of an address.
    return parts[1:] if parts and parts[0].endswith(":") else parts


def _check_distinct(entries, places, path):
    keys = defaultdict(list)
    for key, place in places.items():
        keys[place].append(key)
    for place, same in keys.items():
        names = {"/".join(_parts(entries[key])) for key in same}
        if len(names) > 1:
            raise ValueError(
                f"Images of {path} with different paths are one file. Expected one "
                f"file for each. Received: {place} for "
                + ", ".join(f"image {key} ({entries[key]})" for key in same[:3])
            )


def _names(split):
    return (split, *ALIASES.get(split, ()))


def _of_split(data_dir, split):
    """Returns the files of annotations of one split without a year, in any case."""
    names = {name.lower() for name in _names(split)}
    stems = {stem.format(name) for stem in STEMS for name in names}
    found = [
        path
        for folder in (data_dir / "annotations", data_dir)
        for path in _sorted(folder, "*.json")
        if path.stem.lower() in stems and path.is_file()
    ]
    entries = os.scandir(data_dir) if data_dir.is_dir() else ()
    for name in sorted(entry.name for entry in entries if entry.is_dir()):
        if name.lower() in names:
            folder = data_dir / name
            inside = _whole_in(folder) or _whole_in(folder / "annotations")
            found += [inside] if inside else []
    return found


def _whole_in(folder):
    """Returns the file with all annotations of a folder, None without one."""
    for stem in WHOLE:
        if (folder / f"{stem}.json").is_file():
            return folder / f"{stem}.json"
    files = _sorted(folder, "*.json")
    return files[0] if len(files) == 1 and files[0].is_file() else None


def _of_year(data_dir, year):
    paths = (
        data_dir / "annotations" / f"instances_{name}{year}.json" for name in SPLITS
    )
    return [path for path in paths if path.is_file()]


def _sorted(folder, pattern):
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def _years(data_dir, split):
    """Returns the years of which a folder has a split, in rising order."""
    pattern = re.compile(rf"instances_{re.escape(split)}(\d{{4}})\.json")
    names = [path.name for path in _sorted(data_dir / "annotations", "*.json")]
    return sorted(int(found[1]) for found in map(pattern.fullmatch, names) if found)


def _with_year(data_dir, split, year):
    """Returns the split's name with its year; None if it has none in the folder."""
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
    found = _years(data_dir, split)
    if len(found) > 1:
        raise ValueError(
            f"{data_dir} contains {split!r} of several years. Expected one to be "
            f"chosen, by year={found[0]} or split='{split}{found[0]}'. "
            f"Received: {' and '.join(map(str, found))}"
        )
    return f"{split}{found[0]}" if found else None


def _json_files(data_dir):
    return _sorted(data_dir, "*.json") + _sorted(data_dir, "*/*.json")


def _listed(data_dir, paths):
    names = [Path(os.path.relpath(path, data_dir)).as_posix() for path in paths]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
