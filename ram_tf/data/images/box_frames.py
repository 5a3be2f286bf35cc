"""Turns boxes with photographs that are turned upright by their EXIF orientation.

Annotations give boxes in pixels of a picture of a noted width and height: either as its
file stores it, or upright, as a browser shows it. The decoder turns pictures upright
(see `ram_tf.data.images.exif`), so that boxes in the stored frame are turned with them.
This is read without TensorFlow, and from the heads of the files only.
"""

import io
import struct
from typing import NamedTuple

import numpy as np

from ram_tf.storage.file_ranges import FileRange

UPRIGHT = 1
# As in `ram_tf.data.images.exif`, which reads the orientation in the graph.
HEAD = 2 << 16
MARK = b"Exif\0\0"
ORIENTATION = 0x0112
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
# Ours: a segment has 64 KiB, and the depth map of a phone takes a few hundred.
MAX_SEGMENTS = 2000
# Markers of a JPEG's start of frame, which holds its size.
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Ours: how far two aspect ratios may differ by rounding when images are made smaller.
TOLERANCE = 0.02


class Frame(NamedTuple):
    """How a file stores its picture.

    Args:
        width: The stored width in pixels.
        height: The stored height.
        orientation: From 1 to 8, as EXIF numbers them; 1 is upright.
    """

    width: int
    height: int
    orientation: int


def upright_boxes(boxes, orientation):
    """Turns boxes as `exif.upright` turns the image.

    Args:
        boxes: `(m, 4)` `ymin, xmin, ymax, xmax`, fractions of the stored picture.
        orientation: From 1 to 8, as EXIF numbers them.

    Returns:
        `(m, 4)`, fractions of the upright picture.
    """
    ymin, xmin, ymax, xmax = np.asarray(boxes).T
    if orientation >= 5:
        ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
    if orientation in (3, 4, 7, 8):
        ymin, ymax = 1 - ymax, 1 - ymin
    if orientation in (2, 3, 6, 7):
        xmin, xmax = 1 - xmax, 1 - xmin
    return np.stack([ymin, xmin, ymax, xmax], -1)


def turn_with_images(paths, sizes, boxes):
    """Turns the boxes of a split from the frame they were drawn in to the upright one.

    Whether boxes were drawn in the stored or in the upright frame is decided by the
    noted size. Where it fits both, as for a picture that is upside down, it is decided
    by the split's other turned pictures, and without such, the stored frame is taken.
    Where it fits neither, the boxes are left out, since it is not known where they lie.

    Args:
        paths: The images' files; those that are missing or no images are passed over.
        sizes: The noted `(width, height)` of each, or None.
        boxes: Per image a dict from label name to a `(m, 4)` array of `ymin, xmin,
            ymax, xmax`, fractions of the noted size.

    Returns:
        A list of such dicts, fractions of the upright images, and a tuple of sentences
        for the log on what was turned and left out.
    """
    turned, odd, unsure, stored, upright = list(boxes), [], [], [], []
    frames = {}
    for i, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        # The head is read only where there are boxes.
        frame = read_frame(path) if size and boxes[i] else None
        if not frame:
            continue
        frames[i] = frame
        as_stored, as_upright = _fits(frame, size)
        if not as_stored and not as_upright:
            odd.append(i)
            turned[i] = {}
        elif frame.orientation != UPRIGHT:
            both = as_stored and as_upright
            (unsure if both else stored if as_stored else upright).append(i)
    unsure_stored = len(stored) >= len(upright)
    for i in stored + (unsure if unsure_stored else []):
        turned[i] = {
            name: upright_boxes(array, frames[i].orientation)
            for name, array in boxes[i].items()
        }
    return turned, _notes(paths, sizes, frames, (stored, unsure, unsure_stored, odd))


def _notes(paths, sizes, frames, kinds):
    stored, unsure, unsure_stored, odd = kinds
    notes = []
    if stored:
        notes.append(
            f"{len(stored)} images are turned upright as their camera notes (EXIF), "
            "and their boxes with them"
        )
    if unsure:
        taken = "before turning" if unsure_stored else "after turning"
        notes.append(
            f"{len(unsure)} images are turned upright by EXIF to the size they had, "
            f"such as {paths[unsure[0]]}: their boxes are taken as drawn {taken}"
        )
    if odd:
        frame = frames[odd[0]]
        notes.append(
            f"{len(odd)} images have another shape than their annotations say, such as "
            f"{paths[odd[0]]} ({frame.width} x {frame.height}, not "
            f"{sizes[odd[0]][0]:g} x {sizes[odd[0]][1]:g}): their boxes are left out"
        )
    return tuple(notes)


def _fits(frame, size):
    """Returns whether a noted size is that of the stored and of the upright picture.

    If neither has the size itself, which pictures that were made smaller later have
    not, the aspect ratio decides.
    """
    stored = frame.width, frame.height
    upright = stored[::-1] if frame.orientation >= 5 else stored
    if tuple(size) in (stored, upright):
        return tuple(size) == stored, tuple(size) == upright
    return _same_shape(size, stored), _same_shape(size, upright)


def _same_shape(one, other):
    across, down = one[0] * other[1], one[1] * other[0]
    return abs(across - down) <= TOLERANCE * max(across, down)


def read_frame(image):
    """Reads the `Frame` of a JPEG or PNG from its head; None if it cannot be read.

    Args:
        image: The path of a file, the bytes of one, or a `FileRange`.
    """
    try:
        with _opened(image) as file:
            head = file.read(HEAD)
            if head.startswith(PNG_START) and len(head) >= len(PNG_START) + 8:
                # The decoder turns JPEGs only.
                size = struct.unpack_from(">II", head, len(PNG_START))
                frame = Frame(*size, UPRIGHT)
            elif head.startswith(b"\xff\xd8\xff"):
                frame = Frame(*_jpeg_size(file), orientation(head))
            else:
                return None
    except (OSError, ValueError):
        return None
    return frame if frame.width and frame.height else None


def _opened(image):
    if isinstance(image, FileRange):
        image = image.read_head(HEAD)
    return io.BytesIO(image) if isinstance(image, bytes) else open(image, "rb")


def _jpeg_size(file):
    """Returns the width and height of a JPEG, passing over its segments.

    Raises:
        ValueError: No start of frame was found.
    """
    file.seek(2)
    for _ in range(MAX_SEGMENTS):
        start = file.read(2)
        if start == b"\xff\xff":  # a fill byte
            file.seek(-1, 1)
            continue
        length = file.read(2)
        if len(start + length) < 4 or start[0] != 0xFF:
            break
        if start[1] in START_OF_FRAME:
            size = file.read(5)
            if len(size) == 5:
                height, width = struct.unpack(">xHH", size)
                return width, height
            break
        file.seek(max(0, int.from_bytes(length, "big") - 2), 1)
    raise ValueError("no start of frame")


def orientation(head):
    """Reads the orientation as `exif.orientation` does, from the first bytes of a JPEG.

    Args:
        head: At most `HEAD` bytes.

    Returns:
        From 1 to 8; 1, upright, if there is no valid orientation.
    """
    _, mark, tiff = head.partition(MARK)
    if not mark:
        return UPRIGHT
    order = "little" if tiff.startswith(b"II") else "big"

    def number(part):
        return int.from_bytes(part, order)

    tiff += bytes(8)  # for headers that end early
    # The highest of four bytes has no weight, as no segment is that long.
    start = min(number(tiff[4:8]) & 0xFFFFFF, HEAD // 2)
    count = number((tiff[start : start + 2] + bytes(2))[:2])
    entries = tiff[start + 2 : start + 2 + 12 * count]
    for at in range(0, len(entries) - 11, 12):
        if number(entries[at : at + 2]) == ORIENTATION:
            value = number(entries[at + 8 : at + 10])
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
