"""What a file says of its image before it is decoded: which format, and how large.

A few bytes may ask for gigabytes or for hours. They are refused here, in the graph, by
what can be read without decoding.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# The first chunk has to be this one: decoders pass over an unknown chunk before it.
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_HEADER = 33  # bytes of magic and first chunk, which tells size and depth
# Ours: the longest side that libjpeg knows. Resizing needs memory for each column.
MAX_SIDE = 65_500
# Ours: encoders write about ten scans, and each costs a pass over all the pixels.
MAX_SCANS = 50
SCAN_MARKER = b"\xff\xda"
# With the length that one to four components take; libjpeg stops at any other.
START_OF_SCAN = tuple(SCAN_MARKER + bytes([0, 6 + 2 * n]) for n in (1, 2, 3, 4))
# Ours: libpng inflates each of these chunks to 8 MB only to forget it.
MAX_DEFLATED = 16
DEFLATED = (b"zTXt", b"iTXt", b"iCCP")


class Header(NamedTuple):
    """What the bytes of a file say of it; to ask them raises nothing.

    Args:
        is_jpeg: Whether it calls itself a JPEG.
        known: Whether it calls itself a JPEG or a PNG.
        few: Whether it has no more parts than encoders write.
    """

    is_jpeg: tf.Tensor
    known: tf.Tensor
    few: tf.Tensor


def look(encoded):
    """Reads the `Header` of a file's bytes, a scalar string tensor."""
    is_jpeg = tf.io.is_jpeg(encoded)
    is_png = tf.equal(tf.strings.substr(encoded, 0, len(PNG_START)), PNG_START)
    is_png &= tf.strings.length(encoded) >= PNG_HEADER
    few = tf.cond(
        is_jpeg,
        lambda: _has_few_scans(encoded),
        lambda: _count(encoded, DEFLATED) <= MAX_DEFLATED,
    )
    return Header(is_jpeg, is_jpeg | is_png, few)


def check(encoded):
    """Refuses what is no image, or has too many parts.

    Args:
        encoded: Scalar string tensor.

    Returns:
        Whether it is a JPEG, and not a PNG: a scalar that only holds where it is one.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the bytes are neither, or have more
            parts than encoders write.
    """
    seen = look(encoded)
    known = tf.debugging.Assert(seen.known, ["Not a JPEG or PNG image."], name="format")
    with tf.control_dependencies([known]):
        few = tf.debugging.Assert(
            seen.few,
            ["More scans or compressed notes than any encoder writes."],
            name="few",
        )
    with tf.control_dependencies([few]):
        return tf.identity(seen.is_jpeg)


def check_size(encoded, is_jpeg, max_pixels):
    """Refuses an image that takes too much memory.

    Args:
        encoded: Scalar string tensor, a JPEG or PNG by its header.
        is_jpeg: Which of them.
        max_pixels: The most that it may have.

    Returns:
        `encoded`, which only holds where it may be decoded.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the image has too many pixels, or a
            side of more than `MAX_SIDE`, or is a JPEG that does not say its size.
    """
    height, width = tf.cond(
        is_jpeg, lambda: _jpeg_size(encoded), lambda: _png_size(encoded)
    )
    allowed = [
        tf.debugging.Assert(
            height * width <= max_pixels,
            ["More pixels than max_pixels =", max_pixels, *_received(height, width)],
            name="size",
        ),
        tf.debugging.Assert(
            tf.maximum(height, width) <= MAX_SIDE,
            ["A side of more than", MAX_SIDE, *_received(height, width)],
            name="side",
        ),
    ]
    with tf.control_dependencies(allowed):
        return tf.identity(encoded)


def _received(height, width):
    return "Received:", height, "x", width


def _jpeg_size(encoded):
    shape = tf.io.extract_jpeg_shape(encoded, tf.int64)
    return shape[0], shape[1]


def _png_size(encoded):
    # Width and height, big-endian, from byte 16 on.
    header = tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.uint8)
    parts = tf.reshape(tf.cast(header, tf.int64), [2, 4])
    size = tf.reduce_sum(
        parts * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), 1
    )
    return size[1], size[0]


def _has_few_scans(encoded):
    # Markers alone are quick to count. Chance brings them too, one in 65,536 bytes of
    # what stands behind the image, such as a phone's video.
    return tf.cond(
        _count(encoded, [SCAN_MARKER]) <= MAX_SCANS,
        lambda: tf.constant(True),
        lambda: _count(encoded, START_OF_SCAN) <= MAX_SCANS,
    )


def _count(encoded, marks):
    """How often marks, of two or four bytes each, occur anywhere in the file."""
    kind = np.dtype("<u2" if len(marks[0]) == 2 else "<i4")
    codes = [int(np.frombuffer(mark, kind)[0]) for mark in marks]
    total = 0
    encoded += b"\0\0\0\0"  # ends no mark; there are bytes from each start on
    # As numbers, from each byte that one may start at, which is faster than by bytes.
    for start in range(kind.itemsize):
        whole = (tf.strings.length(encoded) - start) // kind.itemsize * kind.itemsize
        part = tf.strings.substr(encoded, start, whole)
        numbers = tf.io.decode_raw(part, tf.as_dtype(kind))
        for code in codes:
            total += tf.math.count_nonzero(numbers == code, dtype=tf.int32)
    return total
