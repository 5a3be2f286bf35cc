"""Reads the EXIF orientation of a JPEG and turns the image upright.

TensorFlow's decoders ignore it, so that photographs from phones would be rotated. It is
read in the graph, so that an exported model turns images, too.
"""

import tensorflow as tf

SEGMENT = 1 << 16  # the most bytes of a JPEG segment
MARK = b"Exif\0\0"
ORIENTATION = 0x0112  # the tag, in the TIFF header that follows the mark
UPRIGHT = 1


def orientation(encoded):
    """Reads the orientation of an image.

    Args:
        encoded: Scalar string tensor, a file's bytes.

    Returns:
        int32 scalar from 1 to 8, as EXIF numbers them; 1, upright, if the file is not a
        JPEG with a valid orientation in its first segments (128 KiB).
    """
    head = tf.strings.substr(encoded, 0, 2 * SEGMENT)
    # TensorFlow has no `find` for strings.
    parts = tf.strings.split(head[None], MARK, maxsplit=1).to_tensor()
    has_exif = tf.io.is_jpeg(encoded) & (tf.shape(parts)[1] > 1)
    return tf.cond(
        has_exif, lambda: _read_tiff(parts[0, 1]), lambda: tf.constant(UPRIGHT)
    )


def _read_tiff(tiff):
    """Returns the orientation in a TIFF header and its first directory."""
    content = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int32)
    content = tf.pad(content, [[0, 8]])  # for headers that end early
    little = tf.equal(tf.strings.substr(tiff, 0, 2), b"II")

    def number(bytes_, size):
        digits = bytes_[..., :size]
        digits = tf.where(little, digits, tf.reverse(digits, [-1]))
        # The highest of four bytes has no weight, as no segment is that long.
        weights = tf.constant([1, 1 << 8, 1 << 16, 0][:size])
        return tf.reduce_sum(digits * weights, -1)

    start = tf.minimum(number(content[4:8], 4), SEGMENT)
    count = number(tf.pad(content[start : start + 2], [[0, 2]]), 2)
    entries = content[start + 2 : start + 2 + 12 * count]
    entries = tf.reshape(entries[: tf.size(entries) // 12 * 12], [-1, 12])
    found = number(entries, 2) == ORIENTATION
    values = tf.boolean_mask(number(entries[:, 8:], 2), found)
    value = tf.concat([values, [UPRIGHT]], 0)[0]
    return tf.where((value >= 1) & (value <= 8), value, UPRIGHT)


def upright(image, orientation):
    """Rotates and flips an image to be upright.

    Args:
        image: `(H, W, C)`.
        orientation: int32 scalar from 1 to 8.

    Returns:
        The image; `(W, H, C)` for orientations of 5 to 8.
    """
    image = tf.transpose(image, tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2]))
    down = tf.where(tf.reduce_any(orientation == [3, 4, 7, 8]), -1, 1)
    right = tf.where(tf.reduce_any(orientation == [2, 3, 6, 7]), -1, 1)
    return tf.ensure_shape(image[::down, ::right], [None, None, image.shape[-1]])
