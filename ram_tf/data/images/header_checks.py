"""Checks the format and the size of an image file before it is decoded.

A small file may need gigabytes or hours to decode. Such files are refused here, in the
graph, by what can be read without decoding.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Files with another first chunk are refused: decoders would skip an unknown one.
PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_HEADER = 33  # bytes of the signature and the first chunk, with size and depth
# Ours: libjpeg's longest side. Resizing needs memory for each column.
MAX_SIDE = 65_500
# Ours: encoders write about ten scans, and each needs a pass over all pixels.
MAX_SCANS = 50
SCAN_MARKER = b"\xff\xda"
# With the lengths for one to four components; libjpeg stops at any other length.
START_OF_SCAN = tuple(SCAN_MARKER + bytes([0, 6 + 2 * n]) for n in (1, 2, 3, 4))
# Ours: libpng decompresses up to 8 MB of each such chunk and discards them.
MAX_DEFLATED = 16
DEFLATED = (b"zTXt", b"iTXt", b"iCCP")


class Header(NamedTuple):
    """What an image file's bytes show without decoding.

    Args:
        is_jpeg: Whether the file starts as a JPEG.
        is_supported: Whether it starts as a JPEG or a PNG.
        usual_parts: Whether it has as few scans or compressed chunks as encoders write.
    """

    is_jpeg: tf.Tensor
    is_supported: tf.Tensor
    usual_parts: tf.Tensor


def read_header(encoded):
    """Reads the `Header` of a scalar string tensor; never raises."""
    is_jpeg = tf.io.is_jpeg(encoded)
    is_png = tf.equal(tf.strings.substr(encoded, 0, len(PNG_START)), PNG_START)
    is_png &= tf.strings.length(encoded) >= PNG_HEADER
    usual_parts = tf.cond(
        is_jpeg,
        lambda: _has_usual_scans(encoded),
        lambda: _count(encoded, DEFLATED) <= MAX_DEFLATED,
    )
    return Header(is_jpeg, is_jpeg | is_png, usual_parts)


def check(encoded):
    """Refuses files that are not images, or have too many parts.

    Args:
        encoded: Scalar string tensor.

    Returns:
        Scalar, whether the file is a JPEG and not a PNG; it depends on the checks.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the bytes are neither, or have more
            scans or compressed notes than encoders write.
    """
    header = read_header(encoded)
    supported = tf.debugging.Assert(
        header.is_supported, ["Not a JPEG or PNG image."], name="format"
    )
    with tf.control_dependencies([supported]):
        usual = tf.debugging.Assert(
            header.usual_parts,
            ["More scans or compressed notes than any encoder writes."],
            name="few",
        )
    with tf.control_dependencies([usual]):
        return tf.identity(header.is_jpeg)


def check_size(encoded, is_jpeg, max_pixels):
    """Refuses an image that would need too much memory.

    Args:
        encoded: Scalar string tensor, a JPEG or PNG according to its header.
        is_jpeg: Whether it is a JPEG.
        max_pixels: The most pixels that it may have.

    Returns:
        `encoded`; it depends on the checks.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the image has too many pixels, a
            side longer than `MAX_SIDE`, or is a JPEG without a size.
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


def _has_usual_scans(encoded):
    # Counting only the markers is fast. They also occur by chance, once in 65,536 bytes
    # of data behind the image, such as a phone's video.
    return tf.cond(
        _count(encoded, [SCAN_MARKER]) <= MAX_SCANS,
        lambda: tf.constant(True),
        lambda: _count(encoded, START_OF_SCAN) <= MAX_SCANS,
    )


def _count(encoded, marks):
    """Counts marks, of two or four bytes each, anywhere in the file."""
    kind = np.dtype("<u2" if len(marks[0]) == 2 else "<i4")
    codes = [int(np.frombuffer(mark, kind)[0]) for mark in marks]
    total = 0
    encoded += b"\0\0\0\0"  # completes no mark, and gives each start enough bytes
    # Compared as integers, from each possible start, which is faster than as bytes.
    for start in range(kind.itemsize):
        whole = (tf.strings.length(encoded) - start) // kind.itemsize * kind.itemsize
        part = tf.strings.substr(encoded, start, whole)
        numbers = tf.io.decode_raw(part, tf.as_dtype(kind))
        for code in codes:
            total += tf.math.count_nonzero(numbers == code, dtype=tf.int32)
    return total
