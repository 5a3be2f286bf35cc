"""The index beside a shard: all that a `Split` holds of its images but their bytes."""

import dataclasses
import hashlib
import json

import numpy as np

from ram_tf.data.images.image_faults import Fault
from ram_tf.data.scan import GREY_SHAPE
from ram_tf.storage import atomic_files, cache
from ram_tf.storage.file_ranges import DIGEST, FileRanges

ENDING = ".npz"
# The key of a shard's content, which decides whether it has to be written again.
KEY = "key"
# The arrays with a row for each image.
ARRAYS = ("starts", "lengths", "digests", "greys", "labels", "others")


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """The n images of a shard, in the order of their split.

    Args:
        key: What the shard was made of, see `key_of`.
        size: Bytes of the shard's file.
        starts: `(n,)` int64, where the encoded images begin in the file.
        lengths: `(n,)` int64, their bytes.
        digests: `(n, 32)` uint8, their SHA-256.
        greys: `(n, 16, 18)` uint8, see `Split`.
        names: The n names.
        labels: `(n, L)` int8, see `Split`.
        others: `(n,)` int8, see `Split`; None if the split has none.
        boxes: n dicts, see `Split`; None if the split has none.
        unreadable: See `Split`; these images are not in the shard.
    """

    key: str
    size: int
    starts: np.ndarray
    lengths: np.ndarray
    digests: np.ndarray
    greys: np.ndarray
    names: list
    labels: np.ndarray
    others: np.ndarray | None
    boxes: list | None
    unreadable: list

    def __len__(self):
        return len(self.names)

    def write(self, path):
        """Writes the index as an npz file, atomically."""
        arrays = {
            KEY: _text(self.key),
            "size": np.array(self.size),
            "starts": self.starts,
            "lengths": self.lengths,
            "digests": self.digests,
            "greys": self.greys,
            "names": _text(self.names),
            "labels": self.labels,
            "unreadable": _text(self.unreadable),
        }
        if self.others is not None:
            arrays["others"] = self.others
        if self.boxes is not None:
            arrays |= _flat(self.boxes)
        with atomic_files.atomic_write(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def read(cls, path):
        """Reads an index.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not an index that `write` wrote.
        """
        try:
            arrays = cache.load(path)
            names = _parsed(arrays["names"])
            boxes = _nested(arrays, len(names)) if "boxes" in arrays else None
            index = cls(
                _parsed(arrays[KEY]),
                int(arrays["size"]),
                *(arrays[name] for name in ("starts", "lengths", "digests", "greys")),
                names,
                arrays["labels"],
                arrays.get("others"),
                boxes,
                [
                    (str(name), Fault(str(reason), str(detail)))
                    for name, (reason, detail) in _parsed(arrays["unreadable"])
                ],
            )
            index.check()
        except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
            raise ValueError(
                "The index of a shard cannot be read. Expected a file that `ram-tf "
                f"shard` wrote. Received: {path} ({error!r})"
            ) from error
        return index

    def check(self):
        """Raises a `ValueError` if the arrays are not those of one list of images."""
        count = len(self)
        shapes = {
            "starts": (count,),
            "lengths": (count,),
            "digests": (count, DIGEST),
            "greys": (count, *GREY_SHAPE),
            "labels": (count, self.labels.shape[-1]),
        }
        kinds = {"starts": "int64", "lengths": "int64", "labels": "int8"}
        if self.others is not None:
            shapes["others"], kinds["others"] = (count,), "int8"
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != kinds.get(name, "uint8"):
                raise ValueError(f"{name} of {array.dtype} {array.shape}")
        if not isinstance(self.names, list):
            raise ValueError(f"names in a {type(self.names).__name__}")
        if not all(isinstance(name, str) for name in self.names):
            raise ValueError("names that are no texts")
        # No sum overflows where starts and lengths are in the file.
        ranges = self.starts, self.lengths, self.starts + self.lengths
        within = all(
            array.min(initial=0) >= 0 and array.max(initial=0) <= self.size
            for array in ranges
        )
        marks = np.isin(self.labels, (-1, 0, 1)).all()
        if not within or not marks:
            raise ValueError("numbers out of range")


def key_of(split, limits):
    """Returns a hash of what a shard is made of: images, labels, names and boxes.

    Args:
        split: The `Split` of the shard's images; files count by path, size and time.
        limits: The `max_pixels` and `truncated` of the decoder.
    """
    digest = hashlib.sha256(repr((limits, split.label_names)).encode())
    digest.update(split.digest.encode())
    for image in split.images:
        try:
            identity = cache.identity(image)
        except OSError:  # a missing file, which is left out as unreadable
            identity = b"missing"
        digest.update(hashlib.sha256(identity).digest())
    if split.others is not None:
        digest.update(split.others.tobytes())
    for found in split.boxes or ():
        listed = {name: np.asarray(boxes).tolist() for name, boxes in found.items()}
        digest.update(json.dumps(listed).encode())
    return digest.hexdigest()


def joined(indexes, paths, count):
    """Joins the indexes of a split's shards to the arguments of its `Split`.

    Args:
        indexes: An iterable of the `ShardIndex`es, in order, of one number of labels.
        paths: The path of each shard's file.
        count: The number of images in all of them.

    Returns:
        A dict of arguments, all but those that the whole split has one of.

    Raises:
        ValueError: The indexes hold another number of images.
    """
    names, boxes, unreadable, arrays = [], [], [], {}
    files, place, has_boxes = np.zeros(count, np.int32), 0, True
    for number, index in enumerate(indexes):
        rows = slice(place, place + len(index))
        for name in ARRAYS:
            part = getattr(index, name)
            if part is not None:
                # Filled in place, since two copies of a million greys take 600 MB.
                if name not in arrays:
                    arrays[name] = np.zeros((count, *part.shape[1:]), part.dtype)
                arrays[name][rows] = part
        files[rows] = number
        names += index.names
        unreadable += index.unreadable
        has_boxes &= index.boxes is not None
        boxes += index.boxes or ()
        place += len(index)
    if place != count:
        raise ValueError(f"{place} images, not {count}")
    ranges = (arrays.pop(name) for name in ("starts", "lengths", "digests"))
    return {
        "images": FileRanges(paths, files, *ranges),
        "names": tuple(names),
        "boxes": tuple(boxes) if has_boxes else None,
        "unreadable": tuple(unreadable),
        **arrays,
    }


def _text(value):
    """Returns a value as JSON in an array of bytes, which needs no pickle."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _parsed(array):
    return json.loads(array.tobytes())


def _flat(boxes):
    """Returns dicts of boxes as four arrays: of images, of labels, of labels' names."""
    names = list(dict.fromkeys(name for found in boxes for name in found))
    numbers = {name: number for number, name in enumerate(names)}
    rows, labels, arrays = [], [], []
    for row, found in enumerate(boxes):
        for name, array in found.items():
            rows += [row] * len(array)
            labels += [numbers[name]] * len(array)
            arrays.append(np.asarray(array, np.float32).reshape(-1, 4))
    return {
        "box_names": _text(names),
        "box_rows": np.array(rows, np.int64),
        "box_labels": np.array(labels, np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *arrays]),
    }


def _nested(arrays, count):
    """Returns the dicts of boxes that `_flat` made flat."""
    names, boxes = _parsed(arrays["box_names"]), arrays["boxes"]
    rows, labels = arrays["box_rows"], arrays["box_labels"]
    fits = boxes.shape == (len(rows), 4) and len(labels) == len(rows)
    fits = fits and boxes.dtype == np.float32 and np.isfinite(boxes).all()
    if not fits or rows.min(initial=0) < 0 or labels.min(initial=0) < 0:
        raise ValueError(f"boxes of {boxes.dtype} {boxes.shape}")
    if not all(isinstance(name, str) for name in names):
        raise ValueError("names of boxes that are no texts")
    nested = [{} for _ in range(count)]
    # Boxes of one image and label lie one after another.
    new = np.flatnonzero((np.diff(rows) != 0) | (np.diff(labels) != 0)) + 1
    starts = [0, *new.tolist()] if len(rows) else []
    ends = [*starts[1:], len(rows)]
    for start, end in zip(starts, ends, strict=True):
        nested[rows[start]][names[labels[start]]] = boxes[start:end]
    return nested
