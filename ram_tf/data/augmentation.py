"""Augments training images by random crops, flips, sizes and colours."""

from typing import NamedTuple

import tensorflow as tf


class Place(NamedTuple):
    """The position of a crop in its image.

    Args:
        top: The crop's first row, in pixels of the resized image.
        left: The crop's first column, in the same pixels.
        mirrored: Whether the crop is flipped from left to right.
    """

    top: int | tf.Tensor
    left: int | tf.Tensor
    mirrored: bool | tf.Tensor = False


def random_place(margin, flip, seed):
    """Draws the position of a crop, as `tf.image`'s stateless crop and flip do.

    Args:
        margin: The edge of the resized image minus that of the crop, in pixels.
        flip: Whether to flip with probability 0.5; False if left and right matter.
        seed: `(2,)` integers; the same seed gives the same position.

    Returns:
        A `Place`.
    """
    corner, mirror = tf.unstack(tf.random.split(seed, 2))
    drawn = tf.random.stateless_uniform([3], corner, 0, tf.int32.max, tf.int32)
    top, left, _ = tf.unstack(drawn % (margin + 1))
    return Place(
        top, left, tf.random.stateless_uniform([], mirror) < 0.5 if flip else False
    )


def random_edge(edges, seed):
    """Draws one of the edges that an image may be resized to, uniformly.

    Args:
        edges: Integers; repeat one to make it more likely.
        seed: `(2,)` integers; the same seed gives the same edge.

    Returns:
        The integer if there is only one, otherwise a scalar tensor.
    """
    if len(edges) == 1:
        return edges[0]
    seed = tf.random.fold_in(seed, 1)  # another one than `random_place` uses
    drawn = tf.random.stateless_uniform([], seed, 0, len(edges), tf.int32)
    return tf.constant(edges)[drawn]


def cut(image, crop, place):
    """Crops an image `(N, N, 3)` to `(crop, crop, 3)` at a `Place`."""
    image = tf.slice(image, [place.top, place.left, 0], [crop, crop, 3])
    return mirror(image, place)


def mirror(image, place):
    """Flips an image `(H, W, 3)` from left to right if its `Place` says so."""
    if place.mirrored is False:
        return image
    return tf.cond(place.mirrored, lambda: image[:, ::-1], lambda: image)


def boxes_in_crop(boxes, size, crop, place):
    """Converts boxes in an image to boxes in a crop of it.

    Args:
        boxes: `(..., 4)` `ymin, xmin, ymax, xmax` as fractions of the image.
        size: N, the edge of the resized image in pixels.
        crop: The edge of the crop in pixels.
        place: The crop's `Place`.

    Returns:
        `(..., 4)` as fractions of the crop; not clipped, so that boxes which are partly
        outside keep their size.
    """
    corner = tf.cast(tf.stack([place.top, place.left] * 2), tf.float32)
    edge = tf.cast(size, tf.float32)
    top, left, bottom, right = tf.unstack((boxes * edge - corner) / crop, axis=-1)
    left, right = (
        tf.where(place.mirrored, 1.0 - right, left),
        tf.where(place.mirrored, 1.0 - left, right),
    )
    return tf.stack([top, left, bottom, right], -1)


def jitter_colours(image, strength, seed):
    """Changes brightness, contrast, saturation and hue at random, in this order.

    Ours, for small datasets whose labels do not depend on colour; the papers only crop
    and flip.

    Args:
        image: `(H, W, 3)` float32 in [0, 255].
        strength: s, in [0, 1]; 0 changes nothing. Up to s / 2 of the value range is
            added or subtracted, contrast and saturation are multiplied by 1 - s to
            1 + s, hues rotate by up to s / 8 of their circle, all drawn uniformly.
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
