"""Finds the images, annotations and splits of a folder in a layout of VOC.

Lists in `ImageSets/Main` name the images of each split. Without lists, the folders
`train`, `valid` and `test` are the splits, as Roboflow leaves them, or else all images
with an annotation are one part, as LabelImg leaves them.
"""

import functools
import os
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ram_tf.data.split import path_inside
from ram_tf.data.voc_reader import voc_lists

# Of images with one stem, the first in this order is read.
ENDINGS = tuple(
    ".jpg .jpeg .png .jpe .jfif .webp .bmp .gif .tif .tiff .avif .heic".split()
)
IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img", "jpegs")
ANNOTATION_FOLDERS = ("annotations", "annotation", "xml", "xmls")
# Their images have the stems of photographs.
MASK_FOLDERS = ("segmentationclass", "segmentationobject", "masks", "mask")
# Ours: a dataset has fewer files, and a home folder should not be searched for long.
MAX_FILES = 3_000_000


class Entry(NamedTuple):
    """An image of a part.

    Args:
        image: Its path below the folder; the file may be missing.
        annotation: The path of its annotation; None if there is none.
        key: What lists and `boxes.json` call it.
        others: Further images of the same stem, which are not read.
    """

    image: str
    annotation: Path | None
    key: str
    others: tuple[str, ...] = ()


class Listed:
    """A folder with lists in `ImageSets`.

    Args:
        root: The folder.
        lists: The folder of the lists.
        asked: See `voc_lists.ImageSets`.
        certain: See `voc_lists.ImageSets`.
    """

    def __init__(self, root, lists, asked="train", certain=()):
        self.root = root
        self.sets = voc_lists.ImageSets(lists, asked, certain)
        self.image_folder = _child(root, IMAGE_FOLDERS)
        self.annotation_folder = _child(root, ANNOTATION_FOLDERS)

    @property
    def parts(self):
        """The names of the parts that lists or class files define."""
        return self.sets.splits

    @property
    def whole(self):
        """The name of the only part if it is no split, as CVAT's `default`."""
        return "default" if self.parts == ("default",) else None

    @property
    def has_images(self):
        """Whether there is a folder of images, or an image elsewhere."""
        return bool(self.image_folder or self._by_key)

    @property
    def has_annotations(self):
        """Whether boxes are to be read from annotations."""
        return bool(self.annotation_folder or any(self.root.glob("*.xml")))

    def entries(self, part):
        """Returns the `Entry`s of the images that the list of a part names."""
        where = f"the split {part!r} of {self.root}"
        return tuple(self.entry(stem, where) for stem in self.sets.images(part))

    def without_annotation(self, part):
        """Returns nothing: images that no list names are of no split."""
        return ()

    def entry(self, stem, where):
        """Returns the `Entry` of an image by its name in a list.

        Args:
            stem: The name, without the image's ending, or with it.
            where: The list, for the error message.

        Raises:
            ValueError: The name leads out of the folder.
        """
        path_inside(stem, where)
        key = str(PurePosixPath(stem.replace("\\", "/")))
        if key not in self._by_key and _is_image(key):
            key = str(PurePosixPath(key).with_suffix(""))
        images = self._by_key.get(key, [])
        missing = PurePosixPath(self._base() or "JPEGImages", f"{key}.jpg")
        image = images[0] if images else str(missing)
        return Entry(image, self._annotation(key), key, tuple(images[1:]))

    @property
    def image_keys(self):
        """The names of all images in the folder of images."""
        folder = self.root / (self._base() or ".")
        return {path.stem for path in folder.glob("*")}

    def _base(self):
        return self.image_folder.name if self.image_folder else ""

    @functools.cached_property
    def _by_key(self):
        paths = filter(_is_image, _walk(self.image_folder or self.root))
        return _by_key(paths, self._base())

    def _annotation(self, key):
        folders = [self.annotation_folder] if self.annotation_folder else []
        for folder in folders or [self.root, self.root / self._base()]:
            if (folder / f"{key}.xml").is_file():
                return folder / f"{key}.xml"
        return None


class Unlisted:
    """A folder of annotations and images without lists.

    Args:
        root: The folder.
        annotations: The paths of its XML files, below it.
        paths: The paths of its images, below it.
    """

    def __init__(self, root, annotations, paths):
        self.root = root
        images = _by_key(paths)
        by_stem = {}
        for key in images:
            by_stem.setdefault(PurePosixPath(key).name, []).append(key)
        self._parts, annotated = {}, {}
        for path in annotations:
            key = _key(path)
            found = key if key in images else None
            same = by_stem.get(PurePosixPath(key).name, [])
            if found is None and len(same) == 1:
                found = same[0]
            elif found is None and len(same) > 1:
                raise ValueError(
                    f"{root / path} may be of several images. Expected one with its "
                    f"stem. Received: {', '.join(images[k][0] for k in same)}"
                )
            own = images.get(found, [str(PurePosixPath(path).with_suffix(".jpg"))])
            if own[0] in annotated:
                raise ValueError(
                    f"An image of {root} has two annotations. Expected one. Received: "
                    f"{annotated[own[0]]} and {path} of {own[0]}"
                )
            annotated[own[0]] = path
            split = self._split(path, own[0])
            entry = Entry(own[0], root / path, PurePosixPath(key).name, tuple(own[1:]))
            self._parts.setdefault(split, []).append(entry)
        self._others = [p for p in images.values() if p[0] not in annotated]
        if "" in self._parts and len(self._parts) > 1:
            raise ValueError(
                f"Some annotations of {root} lie in folders of splits, and others do "
                "not. Expected all in train, valid or test, or none. Received: "
                f"{len(self._parts[''])} elsewhere, such as "
                f"{self._parts[''][0].annotation}"
            )

    def _split(self, annotation, image):
        """Returns the split whose name is a folder of the paths, or ""."""
        found = _splits_in(annotation) | _splits_in(image)
        if len(found) > 1:
            raise ValueError(
                f"The split of {self.root / annotation} is unclear. Expected one of "
                f"train, val and test in its path and its image's. Received: {image}"
            )
        return found.pop() if found else ""

    has_images = has_annotations = True
    image_keys = ()

    @property
    def parts(self):
        """The names of the splits that folders define, or "" for all images."""
        return tuple(sorted(self._parts))

    @property
    def whole(self):
        """The name of the only part if there are no folders of splits."""
        return "" if "" in self._parts else None

    def entries(self, part):
        """Returns the `Entry`s of a part."""
        return tuple(self._parts[part])

    def without_annotation(self, part):
        """Returns the `Entry`s of images of a part that have no annotation."""
        if part == "trainval":
            return self.without_annotation("train") + self.without_annotation("val")
        return tuple(
            Entry(images[0], None, PurePosixPath(images[0]).stem, tuple(images[1:]))
            for images in self._others
            if not part or _splits_in(images[0]) == {part}
        )


def find(data_dir, year, asked, certain):
    """Finds the layout of a folder.

    Args:
        data_dir: The folder `VOCdevkit`, its parent, `VOC<year>`, or any other folder
            in one of the layouts, also one or two folders below.
        year: The year of VOC, whose folder is taken, and no other year's; None for any.
        asked: See `voc_lists.ImageSets`.
        certain: See `voc_lists.ImageSets`.

    Returns:
        A `Listed` or an `Unlisted`, or None if there is nothing to read.

    Raises:
        ValueError: There are several such folders, or splits that are unclear.
    """
    own = data_dir.resolve().name
    named = [data_dir / f"VOC{year}", data_dir / "VOCdevkit" / f"VOC{year}"]
    if _is_other_year(own, year):
        return None
    for place in [*(named if year else ()), data_dir]:
        if _lists(place):
            return Listed(place, _lists(place), asked, certain)
    below = [
        path.parent
        for pattern in ("*/ImageSets", "*/*/ImageSets")
        for path in sorted(data_dir.glob(pattern))
        if _lists(path.parent)
    ]
    usable = [path for path in below if not _is_other_year(path.name, year)]
    if len(usable) > 1:
        raise ValueError(
            f"Several folders in {data_dir} have ImageSets. Expected --data_dir to be "
            f"one of them. Received: {', '.join(map(str, usable))}"
        )
    if usable:
        return Listed(usable[0], _lists(usable[0]), asked, certain)
    if below or not data_dir.is_dir():
        return None
    paths = list(_walk(data_dir))
    annotations = sorted(path for path in paths if path.lower().endswith(".xml"))
    if not annotations:
        return None
    return Unlisted(data_dir, annotations, [path for path in paths if _is_image(path)])


def _is_other_year(name, year):
    """Whether this is the name of another year's folder, which must not be read."""
    return bool(
        year and re.fullmatch(r"VOC\d{4}", name, re.ASCII) and name != f"VOC{year}"
    )


def _lists(place):
    """Returns the folder of a place's lists, or None."""
    main = place / "ImageSets" / "Main"
    if main.is_dir():
        return main
    return main.parent if any(main.parent.glob("*.txt")) else None


def _child(root, names):
    """Returns the folder in `root` with one of these names in any case, or None."""
    if not root.is_dir():
        return None
    folders = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}
    return next((folders[name] for name in names if name in folders), None)


def _is_image(path):
    return PurePosixPath(path).suffix.lower() in ENDINGS


def _key(path):
    """Returns a path without ending and without the folders of images and XML files."""
    inner = PurePosixPath(path).with_suffix("")
    kinds = (*IMAGE_FOLDERS, *ANNOTATION_FOLDERS)
    parts = [part for part in inner.parent.parts if part.lower() not in kinds]
    return str(PurePosixPath(*parts, inner.name))


def _by_key(paths, base=None):
    """Returns the images by key, each key's by preference.

    Args:
        paths: The images' paths below the dataset's folder, or below `base`.
        base: The folder of images; keys are then the paths below it.
    """
    found = {}
    for path in paths:
        below = PurePosixPath(path)
        if any(part.lower() in MASK_FOLDERS for part in below.parent.parts):
            continue
        key = _key(path) if base is None else str(below.with_suffix(""))
        found.setdefault(key, []).append(str(PurePosixPath(base or "", path)))
    for images in found.values():
        images.sort(key=_preference)
    return found


def _preference(path):
    suffix = PurePosixPath(path).suffix
    return ENDINGS.index(suffix.lower()), suffix, path


def _splits_in(path):
    """Returns the splits whose names are folders of a path."""
    found = {voc_lists.canonical(part) for part in PurePosixPath(path).parent.parts}
    return found & {"train", "val", "test"}


def _walk(root):
    """Yields the paths of the files below a folder, links followed, hidden ones not.

    Raises:
        ValueError: There are more than `MAX_FILES`.
    """
    seen, count = set(), 0
    for folder, folders, files in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:  # a link to a folder that holds it
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        count += len(files)
        if count > MAX_FILES:
            raise ValueError(
                f"There are too many files in {root}. Expected the folder of a dataset "
                f"with {MAX_FILES} at most. Received: more"
            )
        below = PurePosixPath(os.path.relpath(folder, root).replace(os.sep, "/"))
        for file in sorted(files):
            if not file.startswith("."):
                yield str(below / file)
