"""Decodes image files."""

import tensorflow as tf

from ram_tf.data.images import exif, header_checks
from ram_tf.data.images.image_faults import ACCEPT, REFUSE

# Ours: more than the photographs of any camera of 50 megapixels have.
MAX_PIXELS = 80_000_000
JPEG_END = b"\xff\xd9"
PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def decode_image(encoded, max_pixels=MAX_PIXELS, truncated=REFUSE):
    """Decodes a JPEG or PNG of any kind to RGB.

    Grey is repeated, CMYK converted, 16 bits are reduced to 8, and transparent pixels
    become white (ours: the colour of fully transparent pixels is often black). A JPEG
    with an EXIF orientation is turned upright.

    Args:
        encoded: Scalar string tensor.
        max_pixels: Images with more pixels are refused before they are decoded.
        truncated: "accept" to read a JPEG that lacks its last bytes, whose missing
            pixels become grey, and a PNG that lacks only its end; "refuse" for errors.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the bytes are not such an image, or
            `header_checks` refuses it.
    """
    # As a tensor, since bytes would make a graph for each image.
    return _decode_image(tf.convert_to_tensor(encoded), max_pixels, truncated)


# As a function, so that the pipelines of a process share one graph.
@tf.function(autograph=False)
def _decode_image(encoded, max_pixels, truncated):
    is_jpeg = header_checks.check(encoded)
    with tf.control_dependencies([is_jpeg]):
        orientation = exif.orientation(encoded)
        return decode_checked(encoded, is_jpeg, orientation, max_pixels, truncated)


def decode_checked(encoded, is_jpeg, orientation, max_pixels, truncated=REFUSE):
    """Decodes an image whose header is valid: the rest of `decode_image`.

    Args:
        encoded: Scalar string tensor, a JPEG or PNG according to its header.
        is_jpeg: Whether it is a JPEG, see `header_checks.read_header`.
        orientation: See `exif.orientation`.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        tf.errors.InvalidArgumentError: As `decode_image`.
    """
    encoded = header_checks.check_size(encoded, is_jpeg, max_pixels)
    accept = truncated == ACCEPT
    image = tf.cond(
        is_jpeg,
        lambda: _decode_jpeg(encoded, accept),
        lambda: _decode_png(_with_end(encoded) if accept else encoded),
    )
    return exif.upright(image, orientation)


def _decode_jpeg(encoded, accept):
    # TensorFlow adds an end itself, but not to a file that is cut within its end.
    return tf.io.decode_jpeg(
        encoded + JPEG_END if accept else encoded,
        channels=3,
        try_recover_truncated=accept,
        # As Pillow and OpenCV decode; TensorFlow's faster method is up to 0.1 of a
        # probability apart.
        dct_method="INTEGER_ACCURATE",
    )


def _with_end(encoded):
    """Returns a PNG with its last chunk, which libpng requires, in place of a part."""
    length = tf.strings.length(encoded)
    kept = length
    # Shorter parts are zeros, with which the pixels' checksum may end, too.
    for count in range(5, len(PNG_END)):
        is_part = tf.equal(tf.strings.substr(encoded, -count, count), PNG_END[:count])
        kept = tf.where(is_part, length - count, kept)
    return tf.strings.substr(encoded, 0, kept) + PNG_END


def _decode_png(encoded):
    rgba = tf.io.decode_png(encoded, channels=4)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    # For images of 1, 2 or 4 bits without alpha, TensorFlow returns an alpha of 1, 3 or
    # 15 instead of 255.
    depth = tf.io.decode_raw(tf.strings.substr(encoded, 24, 1), tf.uint8)[0]
    filler = tf.bitwise.left_shift(1, tf.minimum(tf.cast(depth, tf.int32), 8)) - 1
    opaque = tf.reduce_all(alpha == tf.cast(filler, tf.uint8))
    return tf.cond(opaque, lambda: colour, lambda: _on_white(colour, alpha))


def _on_white(colour, alpha):
    # uint16 holds each product exactly, in half the memory of float32.
    colour, alpha = tf.cast(colour, tf.uint16), tf.cast(alpha, tf.uint16)
    return tf.cast((colour * alpha + 127) // 255 + (255 - alpha), tf.uint8)
