"""Reads PASCAL VOC from a VOCdevkit folder, with the labels of its ImageSets."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from ram_tf.data.readers.boxes_json import as_boxes, read_boxes, unknown_key_notes
from ram_tf.data.split import Split, path_inside

# In the alphabetical order of the challenge.
LABEL_NAMES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
# Of an annotation, ours: a thousand objects need a third of it.
MAX_BYTES = 1 << 20
# The value of a label whose objects are all marked difficult, by policy.
DIFFICULT = {"unknown": -1, "positive": 1, "negative": 0}


def load(data_dir, year, split, difficult="unknown"):
    """Reads one split of VOC 2007 or 2012.

    Args:
        data_dir: The folder `VOCdevkit`, its parent, or `VOC<year>` itself.
        year: 2007 or 2012.
        split: "train", "val", "trainval", "test", or another split with files in
            `ImageSets/Main`. Without files of its own, "trainval" is built from "train"
            and "val".
        difficult: The value of a label whose objects are all marked difficult:
            "unknown" (left out of loss and metrics, as in the challenge), "positive" or
            "negative".

    Returns:
        A `Split`. Its boxes are those of `Annotations/`, or of a `boxes.json` next to
        `ImageSets` (see `boxes_json.read_boxes`; by stem), or None.

    Raises:
        FileNotFoundError: The folder or a file `{class}_{split}.txt` is missing.
        ValueError: The content of a file is invalid, or the split has no images.
    """
    if difficult not in DIFFICULT:
        raise ValueError(
            f"Unknown policy for difficult objects. Expected one of: "
            f"{', '.join(DIFFICULT)}. Received: difficult={difficult!r}"
        )
    root = _find_root(Path(data_dir), year)
    marks = _read_marks(root, year, split)
    stems = tuple(marks)
    if not (root / "JPEGImages").is_dir():
        raise FileNotFoundError(
            f"There are no images in {root}. Expected\n{_tree(year, split)}\n"
            f"Received: no folder {root / 'JPEGImages'}"
        )
    if not stems:
        raise ValueError(
            f"The split {split!r} of {root} has no images. Expected at least one line "
            f"in ImageSets/Main/{LABEL_NAMES[0]}_{split}.txt. Received: an empty file"
        )
    for stem in stems:
        path_inside(stem, f"the split {split!r} of {root}")
    values = np.array([marks[stem] for stem in stems])
    # In the files, 0 means difficult objects only, and -1 absent.
    labels = np.select([values == 1, values == 0], [1, DIFFICULT[difficult]], 0)
    boxes, box_notes = _boxes(root, stems)
    return Split(
        images=tuple(str(root / "JPEGImages" / f"{stem}.jpg") for stem in stems),
        names=tuple(f"JPEGImages/{stem}.jpg" for stem in stems),
        labels=labels.astype(np.int8),
        label_names=LABEL_NAMES,
        boxes=boxes,
        notes=(*difficult_notes((values == 0).sum(), difficult), *box_notes),
    )


def difficult_notes(count, difficult):
    """Returns the sentence for the log on difficult labels, in a tuple."""
    if not count:
        return ()
    return (f"{count} labels with difficult objects only: taken as {difficult}.",)


def _tree(year, split):
    return (
        "DATA_DIR/\n"
        f"    VOC{year}/\n"
        f"        JPEGImages/{year}_000001.jpg ...\n"
        f"        ImageSets/Main/{LABEL_NAMES[0]}_{split}.txt ... one for each of the "
        f"{len(LABEL_NAMES)} classes\n"
        f"        Annotations/{year}_000001.xml ... (optional, the boxes)"
    )


def _find_root(data_dir, year):
    """Returns the folder `VOC<year>`, which may be `data_dir` itself or below it."""
    name = f"VOC{year}"
    places = [data_dir / name, data_dir / "VOCdevkit" / name]
    # VOC2007 itself must not be read as 2012.
    if data_dir.resolve().name == name or not re.fullmatch(
        r"VOC\d{4}", data_dir.resolve().name
    ):
        places.append(data_dir)
    for place in places:
        if (place / "ImageSets" / "Main").is_dir():
            return place
    raise FileNotFoundError(
        f"There is no {name}/ImageSets/Main in {data_dir}. Expected\n"
        f"{_tree(year, 'train')}\nReceived: data_dir={str(data_dir)!r}, which "
        f"{'has none' if data_dir.is_dir() else 'is not a folder'}"
    )


def _read_marks(root, year, split):
    """Returns the class files' marks: a dict from stem to a list of 20 marks."""
    folder = root / "ImageSets" / "Main"
    if split == "trainval" and not list(folder.glob("*_trainval.txt")):
        train, val = (_read_marks(root, year, part) for part in ("train", "val"))
        both = sorted(train.keys() & val.keys())
        if both:
            raise ValueError(
                f"Images of {root} are in train and in val. Expected each in one. "
                f"Received: {len(both)}, the first of them {both[0]}"
            )
        return train | val
    paths = [folder / f"{name}_{split}.txt" for name in LABEL_NAMES]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        public = (str(year), split) != ("2012", "test")
        hint = "" if public else " (The labels of VOC 2012's test were not published.)"
        raise FileNotFoundError(
            f"The split {split!r} of {root} lacks {len(missing)} of its "
            f"{len(LABEL_NAMES)} class files.{hint} Expected\n"
            f"{_tree(year, split)}\nReceived: no {missing[0]} in {folder}"
        )
    columns = [_read_class_file(path) for path in paths]
    for path, column in zip(paths, columns, strict=True):
        if column.keys() != columns[0].keys():
            different = sorted(column.keys() ^ columns[0].keys())
            raise ValueError(
                f"{path} lists other images than {paths[0].name}. Expected the same "
                f"in every class file. Received: {len(different)} in one of them only, "
                f"the first of them {different[0]}"
            )
    return {stem: [column[stem] for column in columns] for stem in columns[0]}


def _read_class_file(path):
    marks = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} cannot be read. Expected UTF-8 text. Received: {error}"
        ) from error
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in ("1", "0", "-1"):
            raise ValueError(
                f"Line {number} of {path} cannot be read. Expected an image and 1, 0 "
                f"or -1. Received: {line!r}"
            )
        marks[fields[0]] = int(fields[1])
    return marks


def _boxes(root, stems):
    """Returns the images' boxes, None if the folder has none, and notes for the log."""
    folder, file = root / "Annotations", root / "boxes.json"
    if folder.is_dir():
        return tuple(_read_annotation(folder / f"{stem}.xml") for stem in stems), ()
    if not file.is_file():
        return None, ()
    by_stem = read_boxes(file, LABEL_NAMES)
    image_keys = {*stems, *(path.stem for path in (root / "JPEGImages").glob("*"))}
    boxes = tuple(by_stem.get(stem, {}) for stem in stems)
    return boxes, unknown_key_notes(file, by_stem, image_keys)


class _Tree(ElementTree.TreeBuilder):
    """An XML tree builder that refuses document types, in any encoding.

    They can declare entities that expand without limit; VOC's files have none.
    """

    def doctype(self, name, pubid, system):
        raise ValueError("a document type")


def _read_annotation(path):
    """Returns the boxes of one image, difficult objects included."""
    if not path.is_file():
        return {}
    found = {}
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        parser = ElementTree.XMLParser(target=_Tree())
        root = ElementTree.fromstring(content, parser)
        width = float(root.findtext("size/width"))
        height = float(root.findtext("size/height"))
        for entry in root.findall("object"):
            xmin, ymin, xmax, ymax = (
                float(entry.findtext(f"bndbox/{side}"))
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            # VOC counts pixels from 1, and a box includes its last pixel.
            box = (
                (ymin - 1) / height,
                (xmin - 1) / width,
                ymax / height,
                xmax / width,
            )
            found.setdefault(entry.findtext("name"), []).append(box)
        return {k: as_boxes(v) for k, v in found.items() if k in LABEL_NAMES}
    except (
        ElementTree.ParseError,
        LookupError,  # an unknown encoding
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        raise ValueError(
            f"{path} cannot be read. Expected a VOC annotation of {MAX_BYTES} bytes at "
            "most, without a document type, with a size and, for each object, a name "
            f"and a bndbox. Received: {error}"
        ) from error
