"""Random colours for training images."""

import tensorflow as tf


def jitter_colours(image, strength, seed):
    """Changes brightness, contrast, saturation and hue at random, in this order.

    Ours, for small data sets whose labels do not go by colour; the papers crop and
    mirror alone.

    Args:
        image: `(H, W, 3)` float32 in [0, 255].
        strength: s, from 0 for the image as it is to 1: half of s of the whole range is
            added or taken away, contrast and saturation are multiplied by 1 - s to
            1 + s, hues move by up to s / 8 of their circle, each as likely.
        seed: `(2,)` integers; the same seed gives the same colours.

    Returns:
        The image, float32 in [0, 255].
    """
    if not strength:
        return image
    brightness, contrast, saturation, hue = tf.unstack(tf.random.split(seed, 4))
    low, high = 1 - strength, 1 + strength
    image = tf.image.stateless_random_brightness(image / 255, strength / 2, brightness)
    image = tf.image.stateless_random_contrast(image, low, high, contrast)
    image = tf.image.stateless_random_saturation(image, low, high, saturation)
    image = tf.image.stateless_random_hue(image, strength / 8, hue)
    return tf.clip_by_value(255 * image, 0, 255)
