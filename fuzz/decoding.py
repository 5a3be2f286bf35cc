"""Fuzzes `decode_image` in eager mode and in a graph."""

import tensorflow as tf

from fuzz import pictures
from fuzz.target import REFUSALS, Target
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.resizing import prepare_image

EDGE = 32
LIMIT = pictures.MAX_PIXELS


def target(folder):
    """Returns the decoder's target."""
    string = tf.TensorSpec([], tf.string)
    prepare = tf.function(
        lambda encoded: prepare_image(decode_image(encoded, LIMIT), EDGE, EDGE),
        [string],
    )

    def read(encoded):
        # Eager mode, as in `predict.py --draw`, is slow: only a part of the inputs.
        if len(encoded) % 32 == 0:
            image = decode_image(encoded, LIMIT)
            assert image.dtype == tf.uint8
            assert 0 < image.shape[0] * image.shape[1] <= LIMIT
        image = prepare(tf.constant(encoded))
        assert image.shape == (EDGE, EDGE, 3)
        assert 0 <= tf.reduce_min(image) <= tf.reduce_max(image) <= 255

    refusals = (*REFUSALS, tf.errors.OpError)
    return Target(pictures.inputs(), read, pictures.JPEG, refusals)
