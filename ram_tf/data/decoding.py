"""From the bytes of an image file to its pixels."""

import tensorflow as tf

from ram_tf.data import exif, image_header

MAX_PIXELS = 50_000_000


def decode_image(encoded, max_pixels=MAX_PIXELS):
    """Decodes a JPEG or PNG of any kind to RGB.

    Grey is repeated, CMYK converted, 16 bits are cut to 8, and what is transparent
    shows white (ours: below full transparency files often hold black). A JPEG is turned
    upright where its camera noted how it was held (`exif`).

    Args:
        encoded: Scalar string tensor.
        max_pixels: Larger images are refused by their header, before they take memory.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the bytes are no such image, or one
            that `image_header` refuses.
    """
    is_jpeg = image_header.check(encoded)
    with tf.control_dependencies([is_jpeg]):
        return decode_known(encoded, is_jpeg, exif.orientation(encoded), max_pixels)


def decode_known(encoded, is_jpeg, orientation, max_pixels):
    """Decodes what has been looked at: the part of `decode_image` that may still fail.

    Args:
        encoded: Scalar string tensor, a JPEG or PNG by its header.
        is_jpeg: Which of them, see `image_header.look`.
        orientation: See `exif.orientation`.
        max_pixels: See `decode_image`.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        tf.errors.InvalidArgumentError: As `decode_image`.
    """
    encoded = image_header.check_size(encoded, is_jpeg, max_pixels)
    image = tf.cond(
        is_jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=3),
        lambda: _decode_png(encoded),
    )
    return exif.upright(image, orientation)


def _decode_png(encoded):
    rgba = tf.io.decode_png(encoded, channels=4)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    # TensorFlow gives images of 1, 2 or 4 bits that have no alpha one of 1, 3 or 15
    # out of 255.
    depth = tf.io.decode_raw(tf.strings.substr(encoded, 24, 1), tf.uint8)[0]
    filler = tf.bitwise.left_shift(1, tf.minimum(tf.cast(depth, tf.int32), 8)) - 1
    opaque = tf.reduce_all(alpha == tf.cast(filler, tf.uint8))
    return tf.cond(opaque, lambda: colour, lambda: _on_white(colour, alpha))


def _on_white(colour, alpha):
    # 16 bits hold each of the products, in half of the memory of floats.
    colour, alpha = tf.cast(colour, tf.uint16), tf.cast(alpha, tf.uint16)
    return tf.cast((colour * alpha + 127) // 255 + (255 - alpha), tf.uint8)
