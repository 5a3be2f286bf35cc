"""Keeps the decoded pixels of a dataset's images, in memory or in files.

Training reads each image once an epoch. The pass before training that decodes every
image fills this cache, so that no image is decoded again. On disk it also keeps what
that pass has found, so that a later start needs no such pass.
"""

import hashlib
import os
import pathlib
import shutil
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ram_tf.data.images import box_frames
from ram_tf.storage import atomic_files, cache

# Changes when the decoder does, or the layout of the files.
VERSION = 1
HEAD = 8  # bytes of a file's height and width, two little-endian integers
MEMORY = pathlib.Path("/proc/meminfo")  # of Linux


class CachedPixels(NamedTuple):
    """The decoded, upright images of a split.

    Args:
        edge: The longest edge in pixels; longer ones were resized to it.
        stored: For each image of the dataset its `(H, W, 3)` uint8 pixels, or the path
            of its file; None for an unreadable one.
        rows: The indices into `stored` of the split's images.
    """

    edge: int
    stored: list
    rows: np.ndarray

    def take(self, rows):
        """Returns the pixels of the images at these indices; nothing is copied."""
        return self._replace(rows=self.rows[rows])

    def reader(self):
        """Returns a function from an index to `(H, W, 3)` uint8, for `tf.data`."""
        stored = [self.stored[row] for row in self.rows]
        if stored and isinstance(stored[0], str):
            paths = tf.constant(stored)
            return lambda index: _parse(tf.io.read_file(paths[index]))

        def read(index):
            # A Python function, since a tensor of all images would be a second copy.
            pixels = tf.numpy_function(
                lambda i: stored[i], [index], tf.uint8, stateful=False
            )
            return tf.ensure_shape(pixels, [None, None, 3])

        return read


class _Place(NamedTuple):
    """Where the pixels of an image are kept.

    Args:
        path: The path of their file; "" without one.
        complete: Whether the file is there, and complete.
    """

    path: str
    complete: bool


class PixelCache:
    """Stores the pixels that a pass over a split decodes.

    Args:
        edge: The longest edge to store, the largest that a crop is cut from.
        folder: The folder of the files, created if missing; None for memory.
        limits: What is refused: `max_pixels` and `truncated` of `decode_image`.
    """

    def __init__(self, edge, folder, limits):
        self.edge, self.limits = edge, tuple(limits)
        self.folder = pathlib.Path(folder) if folder else None
        if folder:
            atomic_files.make_folder(folder)
        # The images that are being read and their places, until they have been read.
        self._placed = None, ()

    def check_room(self, split):
        """Prints how much room the pixels of a split need.

        Raises:
            ValueError: There is less.
        """
        missing = [
            image
            for image, place in zip(split.images, self._places(split), strict=True)
            if not place.complete
        ]
        needed = sum(map(self._bytes, missing))
        place = f"in {self.folder}" if self.folder else "in memory"
        free = shutil.disk_usage(self.folder).free if self.folder else _free_memory()
        size = f"{needed / 2**30:.2f} GiB"
        if free is not None and needed > free:
            raise ValueError(
                f"The decoded images of {split.name} do not fit {place}. Expected "
                f"{size}, or --cache {'none' if self.folder else 'disk'}. Received: "
                f"{free / 2**30:.2f} GiB that are free"
            )
        held = len(split) - len(missing)
        print(
            f"{split.name}: the cache takes {size} {place} for {len(missing)} images"
            + (f"; it holds the other {held}" if held else "")
        )

    def _bytes(self, image):
        frame = box_frames.read_frame(image)
        height, width = (frame.height, frame.width) if frame else (self.edge,) * 2
        return 3 * min(height, self.edge) * min(width, self.edge)

    def _places(self, split):
        """Returns the `_Place` of each image; looked for once in a pass over them."""
        images, places = self._placed
        if images is not split.images:
            places = [self._find(image) for image in split.images]
            self._placed = split.images, places
        return places

    def _find(self, image):
        if not self.folder:
            return _Place("", False)
        try:
            path = self._path(image)
        except (OSError, ValueError):  # of an image whose file is missing
            return _Place("", False)
        try:
            with open(path, "rb") as file:
                height, width = np.frombuffer(file.read(HEAD), "<i4").tolist()
                size = os.fstat(file.fileno()).st_size
                return _Place(str(path), size == HEAD + 3 * height * width)
        except (OSError, ValueError):
            return _Place(str(path), False)

    def recall(self, split):
        """Returns what an earlier pass over the same images has found.

        Args:
            split: The `Split`; the size and time of its files count, too.

        Returns:
            The arguments of a `ram_tf.data.scan.Scan`; None if there was no pass,
            or if the pixels of an image are missing.
        """
        if not self.folder or not len(split):
            return None
        places = self._places(split)
        arrays = cache.read(self._scan_path(places))
        try:
            unreadable, greys = arrays["unreadable"], arrays["greys"]
            stored = [each.path if each.complete else None for each in places]
            missing = [i for i, path in enumerate(stored) if path is None]
            if missing != unreadable.tolist() or len(greys) != len(split):
                return None
        except (AttributeError, KeyError, TypeError):  # no such pass, or another file
            return None
        self._placed = None, ()
        return unreadable, greys, CachedPixels(self.edge, stored, np.arange(len(split)))

    def remember(self, split, unreadable, greys):
        """Ends a pass, and on disk keeps what it has found, for `recall`."""
        if self.folder and len(split):
            path = self._scan_path(self._places(split))
            cache.write(path, {"unreadable": unreadable, "greys": greys})
        self._placed = None, ()

    def _scan_path(self, places):
        digest = hashlib.sha256()
        for place in places:
            digest.update(f"{pathlib.PurePath(place.path).name}\n".encode())
        return self.folder / "scans" / f"{digest.hexdigest()[:32]}.npz"

    def store(self, image, pixels):
        """Stores the pixels of an image: returns them, or the path of their file."""
        if not self.folder:
            return pixels
        path = self._path(image)
        path.parent.mkdir(exist_ok=True)
        with atomic_files.atomic_write(path) as temporary:
            head = np.array(pixels.shape[:2], "<i4").tobytes()
            temporary.write_bytes(head + pixels.tobytes())
        return str(path)

    def _path(self, image):
        about = repr((VERSION, self.edge, self.limits)).encode()
        name = hashlib.sha256(about + cache.identity(image)).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.pixels"

    def reader(self, split, decode):
        """Returns a function from an index to the pixels, stored or decoded now.

        Args:
            split: The `Split`.
            decode: The same function that decodes the image.
        """
        places = self._places(split)
        paths = [place.path if place.complete else "" for place in places]
        paths = tf.constant(paths, tf.string)
        return lambda index: tf.cond(
            tf.equal(paths[index], ""),
            lambda: _limited(decode(index), self.edge),
            lambda: _parse(tf.io.read_file(paths[index])),
        )


def _limited(image, edge):
    """Resizes an image `(H, W, 3)` uint8 so that no edge is longer than `edge`."""
    shape = tf.shape(image)[:2]

    def resized():
        smaller = tf.image.resize(image, tf.minimum(shape, edge), antialias=True)
        return tf.cast(tf.round(smaller), tf.uint8)

    return tf.cond(tf.reduce_any(shape > edge), resized, lambda: image)


def _parse(content):
    head = tf.io.decode_raw(tf.strings.substr(content, 0, HEAD), tf.int32)
    pixels = tf.io.decode_raw(tf.strings.substr(content, HEAD, -1), tf.uint8)
    return tf.reshape(pixels, [head[0], head[1], 3])


def _free_memory():
    """Returns the bytes of memory that are free; None if the system does not say."""
    try:
        for line in MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None
