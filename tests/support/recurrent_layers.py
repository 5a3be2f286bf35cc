"""A small `RecurrentMemorizedAttention`, its input and its gradients."""

import numpy as np
import tensorflow as tf

from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention

LABELS, CHANNELS = 3, 4
WHOLE = [1.0, 1.0, 0.0, 0.0]
STARTS = {
    1: [[0.5, 0.4, 0.3, -0.2]],
    3: [[1.0, 1.0, 0.0, 0.0], [0.5, 0.6, 0.4, -0.3], [0.3, 0.2, -0.6, 0.1]],
}


def random_features():
    """The feature maps of two images."""
    shape = (2, 5, 6, CHANNELS)
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def make_attention(regions=3, units=8, randomly=True, **arguments):
    """Makes a built layer; `randomly` also randomises weights that start at 0."""
    arguments = {"region_size": (4, 4), **arguments}
    layer = RecurrentMemorizedAttention(LABELS, regions, units, **arguments)
    layer.build((None, None, None, CHANNELS))
    if randomly:
        rng = np.random.default_rng(1)
        layer.set_weights(
            [rng.normal(0, 0.5, w.shape).astype("float32") for w in layer.get_weights()]
        )
    return layer


def gradients(layer, features):
    """Returns those of the scores, which reach regions through the sampler only."""
    features = tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = tf.reduce_sum(layer(features)["region_scores"] ** 2)
    sources = [features, *layer.trainable_variables]
    # In eager mode the gradient of `b_m` is a tf.IndexedSlices.
    return [tf.convert_to_tensor(g) for g in tape.gradient(loss, sources)]
