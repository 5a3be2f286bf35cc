"""Finds the labels of images in a layout of VOC: the classes, and each one's marks."""

from typing import NamedTuple

from ram_tf.data.split import check_label_names
from ram_tf.data.voc_reader import voc_annotations, voc_folder, voc_lists

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
# In the files, 0 means difficult objects only.
PRESENT, DIFFICULT_ONLY, ABSENT = 1, 0, -1
LABEL_MAP = "labelmap.txt"
BACKGROUND = "background"


class Classes(NamedTuple):
    """The classes of a folder.

    Args:
        names: Their names, in the order of the labels.
        filed: Whether they have class files.
        papers: Whether they are VOC's 20, with their class files.
        notes: Sentences for the log.
    """

    names: tuple[str, ...]
    filed: bool
    papers: bool = False
    notes: tuple[str, ...] = ()


class Row(NamedTuple):
    """An image and its labels.

    Args:
        entry: Its `voc_folder.Entry`.
        marks: 1, 0 or -1 of each class, as in class files; None if its annotation is to
            say which labels it has.
    """

    entry: voc_folder.Entry
    marks: list[int] | None


def filed_classes(found):
    """Returns the names of the classes of a folder that have class files."""
    return found.sets.classes if isinstance(found, voc_folder.Listed) else ()


def is_papers(found, year):
    """Whether a folder has the class files of VOC's 20 classes.

    Args:
        found: A `Listed` or an `Unlisted` folder.
        year: The year of VOC that is asked for; None for none, and then further classes
            with class files are labels, too.
    """
    filed = set(filed_classes(found))
    return filed >= set(LABEL_NAMES) and (bool(year) or filed == set(LABEL_NAMES))


def classes(found, year, read):
    """Returns the `Classes` of a folder: VOC's, or those that its data name.

    Args:
        found: A `Listed` or an `Unlisted` folder.
        year: As in `is_papers`.
        read: `voc_annotations.read`, or one that remembers.

    Raises:
        ValueError: There are no labels, or names that cannot be used.
    """
    filed = set(filed_classes(found))
    if is_papers(found, year):
        more = sorted(filed - set(LABEL_NAMES))
        note = (
            f"the class files of {len(more)} further classes are left out "
            f"({some(more)}); --dataset voc reads them"
        )
        return Classes(LABEL_NAMES, True, True, (note,) if more else ())
    order = voc_lists.read_label_map(found.root / LABEL_MAP)
    if BACKGROUND in order:
        # CVAT's name for what has no label; it has a class file, too.
        filed.discard(BACKGROUND)
        order = tuple(name for name in order if name != BACKGROUND)
    names = filed or _object_names(found, read)
    listed = [name for name in order if name in names or not filed]
    apart = sorted(set(order) ^ names) if order else ()
    names = (*listed, *sorted(names - set(listed)))
    check_label_names(names, found.root)
    if not names:
        raise ValueError(
            f"The annotations of {found.root} name no label. Expected at least one "
            "object. Received: none"
        )
    source = "class files" if filed else "objects of the annotations"
    notes = [f"{len(names)} labels are taken from the {source}: {some(names)}"]
    if apart:
        notes.append(
            f"{LABEL_MAP} and the {source} differ in {len(apart)} names: {some(apart)}"
        )
    return Classes(names, bool(filed), False, tuple(notes))


def _object_names(found, read):
    """Returns the names of all objects of a folder, whatever their split."""
    names = set()
    for part in found.parts:
        for entry in found.entries(part):
            annotation = read_annotation(entry, read)
            names |= {o.name for o in annotation.objects} if annotation else set()
    # Refused, with its place, where its labels are read.
    names.discard("")
    return names


def read_annotation(entry, read):
    """Returns the `Annotation` of an entry; None without one, or for another XML."""
    try:
        return read(entry.annotation) if entry.annotation else None
    except voc_annotations.NoAnnotationError:
        return None


def rows(found, names, split):
    """Returns the `Row`s of a split.

    Args:
        found: A `Listed` or an `Unlisted` folder.
        names: Its `Classes`.
        split: One of its parts, or "trainval", which is built from "train" and "val"
            if it is none.

    Raises:
        FileNotFoundError: A class file is missing.
        ValueError: A list cannot be read, or the parts of "trainval" share images.
    """
    listed = isinstance(found, voc_folder.Listed)
    own = found.sets.has_class_files if names.papers else found.parts.__contains__
    if split == "trainval" and not own(split):
        train, val = (rows(found, names, part) for part in ("train", "val"))
        keys = {row.entry.image: row.entry.key for row in train}
        both = sorted(keys[r.entry.image] for r in val if r.entry.image in keys)
        if both:
            raise ValueError(
                f"Images of {found.root} are in train and in val. Expected each in "
                f"one. Received: {len(both)}, the first of them {both[0]}"
            )
        return train + val
    marks = {}
    if listed and names.filed and found.sets.has_class_files(split):
        marks = found.sets.marks(split, names.names)
    where = f"the split {split!r} of {found.root}"
    filed = [Row(found.entry(stem, where), own) for stem, own in marks.items()]
    if names.papers:
        return filed
    images = {row.entry.image for row in filed}
    others = [e for e in found.entries(split) if e.image not in images]
    return filed + [Row(entry, None) for entry in others]


def marks_of(annotation, path, names):
    """Returns the marks of an image by its annotation, as class files have them.

    Args:
        annotation: The `Annotation`; None for an image without any label.
        path: Its path, for the error message.
        names: The names of the classes.

    Raises:
        ValueError: An object has no name.
    """
    found = {}
    for entry in annotation.objects if annotation else ():
        if not entry.name:
            raise ValueError(
                f"An object of {path} has no name. Expected a <name> in each <object>. "
                "Received: none"
            )
        easy = PRESENT if not entry.difficult else DIFFICULT_ONLY
        found[entry.name] = max(found.get(entry.name, ABSENT), easy)
    return [found.get(name, ABSENT) for name in names]


def some(names):
    """Returns names for a sentence, ten at most.

    >>> some("ab")
    'a, b'
    """
    shown = ", ".join(map(str, names[:10]))
    return f"{shown} ..." if len(names) > 10 else shown
