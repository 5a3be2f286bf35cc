"""Says how likely each label is where a region lies (ours)."""

import keras
import tensorflow as tf


def terms(theta):
    """What a spatial prior knows of a region: where its centre lies, not its size.

    Args:
        theta: `(N, 4)` float32 `s_x, s_y, t_x, t_y`.

    Returns:
        `(N, 4)` float32: the Legendre polynomials of first and second degree of `t_x`
        and of `t_y`, each 0 on average over the image. Centres outside the image count
        as at its edge.
    """
    centres = tf.clip_by_value(theta[:, 2:], -1.0, 1.0)
    return tf.concat([centres, (3.0 * tf.square(centres) - 1.0) / 2.0], -1)


@keras.saving.register_keras_serializable(package="ram_tf")
class SpatialPrior(keras.layers.Layer):
    """Adds to a region's scores what its place alone says of each label.

    Shoes lie below and hats above, which no pooled vector of a region tells. It says
    nothing until `spatial_prior_fit` has fitted it, and gradients do not change it:
    where step 1 knows its images by heart, they say nothing of places.

    Args:
        num_labels: L.

    Call arguments:
        theta: `(N, 4)` float32 `s_x, s_y, t_x, t_y`.

    Returns:
        `(N, L)` float32, to be added to scores.
    """

    def __init__(self, num_labels, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.num_labels = num_labels

    def build(self, theta_shape=None):
        self.kernel, self.bias = (
            self.add_weight(
                name=name,
                shape=(*rows, self.num_labels),
                initializer="zeros",
                trainable=False,
                dtype="float32",
                autocast=False,
            )
            for name, rows in (("kernel", (4,)), ("bias", ()))
        )

    def call(self, theta):
        return tf.matmul(terms(theta), self.kernel) + self.bias

    def get_config(self):
        return {**super().get_config(), "num_labels": self.num_labels}
