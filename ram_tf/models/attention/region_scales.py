"""The regions of several sizes around one location of RARL."""

import numpy as np
import tensorflow as tf

# Square roots of the areas 80^2, 160^2 and 320^2 on an image of 512 pixels.
SIDES = (80 / 512, 160 / 512, 320 / 512)
RATIOS = (2.0, 1.0, 0.5)  # width over height


def region_scales(sides=SIDES, ratios=RATIOS):
    """Returns the sizes of the regions around a location.

    Args:
        sides: Square roots of their areas as fractions of the image's edge.
        ratios: Their widths over their heights.

    Returns:
        `(k, 2)` float32 NumPy array of `s_x, s_y` in [-1, 1] coordinates, in which the
        whole image has scale 1; k is the number of sides times that of ratios, ordered
        by side first.
    """
    root = np.sqrt(np.asarray(ratios, "float32"))
    scales = [np.stack([side * root, side / root], -1) for side in sides]
    return np.concatenate(scales).astype("float32")


def regions_at(locations, scales):
    """Returns the regions of all sizes around locations.

    Args:
        locations: `(..., 2)` `t_x, t_y` in [-1, 1].
        scales: `(k, 2)` `s_x, s_y`.

    Returns:
        `(..., k, 4)` theta. Regions may extend beyond the image.
    """
    centres = tf.stack([locations] * len(scales), -2)
    scales = tf.broadcast_to(scales, tf.shape(centres))
    return tf.concat([scales, centres], -1)
