"""Adam with learning rates of their own for some of the variables."""

import keras
import tensorflow as tf


class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose rate is scaled for chosen variables.

    Keras has one learning rate per optimiser; the joint training of section 5.1 wants
    new layers to learn faster than a pretrained backbone. Scaling gradients would not
    do: Adam divides by their size.

    Of several devices it sums the gradients before they are clipped. Keras clips those
    of each device and sums what is left.

    Args:
        learning_rate: A number or a schedule.
        scales: Pairs of a list of variables and the factor, 0 or more, of their
            learning rate; 1 for all others.
        **kwargs: As `keras.optimizers.Adam` takes them; its betas of 0.9 and 0.999 are
            the paper's.
    """

    def __init__(self, learning_rate, scales=(), **kwargs):
        super().__init__(learning_rate, **kwargs)
        self._scale_of = {id(v): scale for group, scale in scales for v in group}

    def build(self, variables):
        super().build(variables)
        self._scales = [self._scale_of.get(id(v), 1.0) for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        scale = self._scales[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * scale)

    def _clip_gradients(self, gradients):
        summed = tf.distribute.get_replica_context().all_reduce("SUM", list(gradients))
        return super()._clip_gradients(summed)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars
