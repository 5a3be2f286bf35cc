"""Reads VOC's annotations: one XML file per image, with its objects and their boxes."""

import math
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

# Of an annotation, ours: a thousand objects need a third of it.
MAX_BYTES = 1 << 20
# Ours: a coordinate this many times the image's size is no fraction of it.
MAX_FRACTION = 1e6
YES = ("1", "true", "yes")


class Object(NamedTuple):
    """An object of an annotation.

    Args:
        name: Its label, "" if it has none.
        difficult: Whether it is marked difficult.
        box: `ymin, xmin, ymax, xmax` in fractions of the noted size; None if the box
            cannot be used.
        fault: The reason for that, else "".
    """

    name: str
    difficult: bool
    box: tuple[float, float, float, float] | None
    fault: str


class Annotation(NamedTuple):
    """The content of an annotation.

    Args:
        filename: The image's name as noted, which may be another than the file's.
        size: Its `(width, height)` as noted; None if they cannot be used.
        objects: Its `Object`s.
    """

    filename: str
    size: tuple[float, float] | None
    objects: tuple[Object, ...]


class NoAnnotationError(ValueError):
    """An XML file that is well-formed, but no annotation of VOC."""


class _Tree(ElementTree.TreeBuilder):
    """An XML tree builder that refuses document types, in any encoding.

    They can declare entities that expand without limit; VOC's files have none.
    """

    def doctype(self, name, pubid, system):
        raise ValueError("a document type")


def read(path):
    """Reads an annotation.

    Boxes are optional: one that cannot be used is left out, with the reason, and the
    object stays.

    Args:
        path: The XML file.

    Returns:
        An `Annotation`.

    Raises:
        NoAnnotationError: The file is about something else.
        ValueError: The file is no XML, too large, or has a document type.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Tree()))
    except (
        ElementTree.ParseError,
        LookupError,  # an unknown encoding
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} cannot be read. Expected a VOC annotation of {MAX_BYTES} bytes at "
            f"most, without a document type. Received: {error}"
        ) from error
    if root.tag != "annotation":
        raise NoAnnotationError(
            f"{path} is no annotation of VOC. Expected an XML file of an <annotation>. "
            f"Received: <{root.tag[:80]}>"
        )
    size = _size(root)
    return Annotation(
        _text(root, "filename"),
        size,
        tuple(_object(entry, size) for entry in root.findall("object")),
    )


def _object(entry, size):
    box, fault = _box(entry, size)
    difficult = _text(entry, "difficult").lower() in YES
    return Object(_text(entry, "name"), difficult, box, fault)


def _text(element, place):
    return (element.findtext(place) or "").strip()


def _number(element, place):
    try:
        return float(_text(element, place))
    except ValueError:
        return math.nan


def _size(root):
    size = tuple(_number(root, f"size/{side}") for side in ("width", "height"))
    return size if all(0 < edge < math.inf for edge in size) else None


def _box(entry, size):
    """Returns a box in fractions of the image, and "", or None and why not."""
    if entry.find("bndbox") is None:
        return None, "no bndbox"
    sides = tuple(
        _number(entry, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")
    )
    if not all(map(math.isfinite, sides)):
        return None, "a side that is no number"
    if size is None:
        return None, "no size of the image"
    width, height = size
    xmin, ymin, xmax, ymax = sides
    if xmin > xmax or ymin > ymax:
        return None, "its minimum above its maximum"
    # VOC counts pixels from 1, and a box includes its last pixel.
    box = ((ymin - 1) / height, (xmin - 1) / width, ymax / height, xmax / width)
    if max(map(abs, box)) > MAX_FRACTION or min(box[2:]) <= 0 or max(box[:2]) >= 1:
        return None, "outside the image"
    return box, ""
