"""Writes the images of a split as shards, TFRecord files with an index beside each.

A record is a `tf.train.Example`, which other programs can read, too:

    image/encoded                        the bytes of the image's file
    image/format                         "jpeg" or "png"
    image/filename                       its name in the dataset
    image/height, image/width            in pixels, upright by EXIF
    image/labels, image/labels/unknown   names of labels; all others are absent
    image/object/class/text              the label of each box
    image/object/bbox/ymin, xmin, ...    fractions of the upright image

A shard is finished when its index exists, which is written last: an interrupted command
goes on with the first shard that is not.
"""

import hashlib
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ram_tf.data import progress
from ram_tf.data.images import image_faults
from ram_tf.data.scan import GREY_SHAPE, describe_unreadable, readable_images
from ram_tf.data.shards import shard_folder, shard_index
from ram_tf.data.shards.shard_index import ShardIndex
from ram_tf.storage import atomic_files
from ram_tf.storage.file_ranges import DIGEST

# Of a TFRecord: its length and the checksum of that before it, a checksum behind it.
BEFORE, BEHIND = 12, 4


class PlannedShard(NamedTuple):
    """A part of a split that is to be one shard.

    Args:
        name: The name of its files, without their endings.
        rows: The range of its images' indices in the split.
        bytes: What the images take together.
        key: See `shard_index.key_of`.
    """

    name: str
    rows: range
    bytes: int
    key: str


class WrittenShard(NamedTuple):
    """A finished shard.

    Args:
        name: The name of its files, without their endings.
        bytes: The size of its TFRecord file.
        images: The number of images in it.
        unreadable: See `Split`; the images that were left out.
    """

    name: str
    bytes: int
    images: int
    unreadable: list


def plan(split, limits, shard_bytes):
    """Divides a split into shards, in its order.

    Args:
        split: The `Split`.
        limits: The `max_pixels` and `truncated` of `decode_image`.
        shard_bytes: What the images of a shard take at most, unless it is one image.

    Returns:
        A list of `PlannedShard`.
    """
    planned, start, total = [], 0, 0
    sizes = [_size(image) for image in split.images]

    def finish(end):
        rows = range(start, end)
        name = f"{split.name}-{len(planned):05}"
        key = shard_index.key_of(split.take(rows), limits)
        planned.append(PlannedShard(name, rows, total, key))

    for i, size in enumerate(sizes):
        if i > start and total + size > shard_bytes:
            finish(i)
            start, total = i, 0
        total += size
    finish(len(sizes))
    return planned


def _size(image):
    if isinstance(image, bytes):
        return len(image)
    try:
        return os.stat(image).st_size
    except (OSError, ValueError):  # a missing file, which is left out as unreadable
        return 0


def find(shard, folder):
    """Returns the `WrittenShard` of a planned one; None if it is not finished."""
    path = folder / f"{shard.name}{shard_folder.ENDING}"
    try:
        index = ShardIndex.read(path.with_suffix(shard_index.ENDING))
        if index.key == shard.key and path.stat().st_size == index.size:
            return WrittenShard(shard.name, index.size, len(index), index.unreadable)
    except (OSError, ValueError):
        pass
    return None


def write(split, planned, folder, limits):
    """Writes shards of a split.

    Args:
        split: The `Split`.
        planned: Some of its `PlannedShard`s, in order.
        folder: The folder of the shards.
        limits: The `max_pixels` and `truncated` of `decode_image`.

    Raises:
        OSError: A file cannot be written.
    """
    part = split.take([row for shard in planned for row in shard.rows])
    images = readable_images(part, *limits)
    image, end = next(images, None), 0
    with progress.bar(None, f"writing {split.name}", len(part), "img") as bar:
        for shard in planned:
            start, end = end, end + len(shard.rows)
            path = folder / f"{shard.name}{shard_folder.ENDING}"
            with atomic_files.atomic_write(path) as temporary:
                records = _Records(temporary)
                with records.writer:
                    while image is not None and image.index < end:
                        records.add(part, image)
                        bar.update(int(image.index) + 1 - bar.n)
                        image = next(images, None)
                index = records.index(part, range(start, end), shard.key, limits)
            # Last, since the index marks the shard as finished.
            index.write(path.with_suffix(shard_index.ENDING))


class _Records:
    """The records of a shard that is being written.

    Args:
        path: The TFRecord file.
    """

    def __init__(self, path):
        self.path, self.end = path, 0
        self.writer = _Writer(path)
        self.images, self.starts, self.lengths, self.digests = [], [], [], []

    def add(self, split, image):
        """Writes a `ReadImage` of a split."""
        # Deterministic, so that a shard that is written again has the same bytes.
        record = _example(split, image).SerializeToString(deterministic=True)
        self.writer.write(record)
        # Where the same bytes lie elsewhere in the record, they are the same image.
        self.starts.append(self.end + BEFORE + record.index(image.encoded))
        self.lengths.append(len(image.encoded))
        self.digests.append(hashlib.sha256(image.encoded).digest())
        # Its bytes are not kept: a shard would lie in memory as a whole.
        self.images.append(image._replace(encoded=b""))
        self.end += BEFORE + len(record) + BEHIND

    def index(self, split, rows, key, limits):
        """Returns the `ShardIndex` of the records, written from rows of a split."""
        size = os.stat(self.path).st_size
        if size != self.end:
            raise OSError(
                f"A shard is not what was written. Expected {self.end} bytes. "
                f"Received: {size} in {self.path}"
            )
        kept = [int(image.index) for image in self.images]
        bad = np.setdiff1d(rows, kept)
        faults = describe_unreadable(split, bad, *limits)
        taken = split.take(kept)
        return ShardIndex(
            key=key,
            size=size,
            starts=np.array(self.starts, np.int64),
            lengths=np.array(self.lengths, np.int64),
            digests=np.frombuffer(b"".join(self.digests), np.uint8).reshape(-1, DIGEST),
            greys=np.reshape(
                [image.grey for image in self.images], (-1, *GREY_SHAPE)
            ).astype(np.uint8),
            names=list(taken.names),
            labels=taken.labels.astype(np.int8),
            others=None if taken.others is None else taken.others.astype(np.int8),
            boxes=None if taken.boxes is None else list(taken.boxes),
            unreadable=[
                (split.names[i], fault) for i, fault in zip(bad, faults, strict=True)
            ],
        )


class _Writer:
    """Writes a TFRecord file, with the errors of the system in place of TensorFlow's.

    Args:
        path: The file.
    """

    def __init__(self, path):
        self.path = path
        self.records = self._tried(tf.io.TFRecordWriter, str(path))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._tried(self.records.close)

    def write(self, record):
        self._tried(self.records.write, record)

    def _tried(self, function, *arguments):
        try:
            return function(*arguments)
        except tf.errors.OpError as error:
            raise OSError(
                "A shard cannot be written. Expected room and permission for "
                f"{self.path.parent}. Received: {error.message}"
            ) from error


def _example(split, image):
    """Returns the `tf.train.Example` of a `ReadImage` of a split."""
    index = image.index
    labels = split.labels[index]
    found = {} if split.boxes is None else split.boxes[index]
    boxes = [(name, box) for name, each in found.items() for box in each]
    height, width, _ = image.shape.tolist()
    features = {
        "image/encoded": _bytes([image.encoded]),
        "image/format": _bytes([image_faults.format_of(image.encoded).lower()]),
        "image/filename": _bytes([split.names[index]]),
        "image/height": _integers([height]),
        "image/width": _integers([width]),
        "image/labels": _bytes(_named(split, labels > 0)),
        "image/labels/unknown": _bytes(_named(split, labels < 0)),
    }
    if split.boxes is not None:
        features["image/object/class/text"] = _bytes([name for name, _ in boxes])
        for place, side in enumerate(("ymin", "xmin", "ymax", "xmax")):
            values = [float(box[place]) for _, box in boxes]
            feature = tf.train.Feature(float_list={"value": values})
            features[f"image/object/bbox/{side}"] = feature
    return tf.train.Example(features=tf.train.Features(feature=features))


def _named(split, chosen):
    return [split.label_names[i] for i in np.flatnonzero(chosen)]


def _bytes(values):
    # Names of files need not be UTF-8.
    values = [v if isinstance(v, bytes) else os.fsencode(v) for v in values]
    return tf.train.Feature(bytes_list={"value": values})


def _integers(values):
    return tf.train.Feature(int64_list={"value": values})
