"""Resizes and crops decoded images to the model's input."""

import tensorflow as tf

from ram_tf.data.augmentation import Place, cut, mirror


def resize(image, size):
    """Resizes images `(..., H, W, 3)` to `size` x `size`, ignoring the aspect ratio
    (section 5.1); float32 in [0, 255].
    """  # noqa: D205

    def resized(antialias):
        return lambda: tf.image.resize(image, (size, size), antialias=antialias)

    # Enlarging needs no antialiasing: the same pixels in a quarter of the time.
    return tf.cond(_shrinks(image, size), resized(True), resized(False))


def _shrinks(images, size):
    return tf.reduce_max(tf.shape(images)[-3:-1]) > size


def resize_and_crop(image, size, crop, place):
    """Resizes an image and crops it, as `cut(resize(image, size), crop, place)`.

    Where the image shrinks, only the pixels of the crop are computed. They differ by
    the rounding of coordinates, by less than 1e-4 of their range.

    Args:
        image: `(H, W, 3)`.
        size: N, the edge to resize to, in pixels.
        crop: The edge of the crop.
        place: The crop's `Place` in the resized image.

    Returns:
        `(crop, crop, 3)` float32 in [0, 255].
    """

    def crop_alone():
        # What `tf.image.resize` calls for antialiasing, at another place.
        pixels = tf.raw_ops.ScaleAndTranslate(
            images=image[None],
            size=[crop, crop],
            scale=tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32),
            translation=-tf.cast(tf.stack([place.top, place.left]), tf.float32),
            kernel_type="triangle",
            antialias=True,
        )
        return mirror(tf.ensure_shape(pixels[0], [crop, crop, 3]), place)

    def crop_of_whole():
        whole = tf.image.resize(image, (size, size))
        return cut(whole, crop, place)

    return tf.cond(_shrinks(image, size), crop_alone, crop_of_whole)


def centre_crop(images, crop):
    """Crops images `(..., N, N, 3)` to their central `crop` x `crop` pixels."""
    top = (images.shape[-3] - crop) // 2
    return images[..., top : top + crop, top : top + crop, :]


def prepare_image(image, size, crop):
    """Turns a decoded image into the model's input (table 6, single-crop).

    Args:
        image: `(H, W, 3)` uint8.
        size: N; the image is resized to N x N.
        crop: The edge of the centre crop, N - 64 in the paper.

    Returns:
        `(crop, crop, 3)` float32 in [0, 255].
    """
    top = (size - crop) // 2
    return resize_and_crop(image, size, crop, Place(top, top))
