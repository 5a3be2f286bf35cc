"""Adam with scaled learning rates for some variables, and learning rate schedules."""

import keras
import tensorflow as tf

from ram_tf.models.networks import AttentionModel


class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with a scaled learning rate for chosen variables.

    In the joint training of section 5.1 new layers need a higher learning rate than a
    pretrained backbone. Scaled gradients would not give that: Adam normalises them.

    With several devices, gradients are summed first and then clipped. Keras clips those
    of each device and then sums them.

    Args:
        learning_rate: A number or a schedule.
        scales: Pairs of a list of variables and the factor of their learning rate, 0
            or more. The factor of all other variables is 1.
        **kwargs: Arguments of `keras.optimizers.Adam`, whose default betas of 0.9 and
            0.999 are the paper's.
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

    def finalize_variable_values(self, var_list):
        """Leaves the weights as they are when `fit` ends.

        Keras would replace them by their averages, of which the best are loaded from a
        file anyway; and the rest of an interrupted epoch is a `fit` of its own.
        """

    def _clip_gradients(self, gradients):
        summed = tf.distribute.get_replica_context().all_reduce("SUM", list(gradients))
        return super()._clip_gradients(summed)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars


def compile_model(model, settings, learning_rate, steps):
    """Compiles a model with the optimiser, the schedule and XLA as set.

    Args:
        model: A `PooledClassifier` or an `AttentionModel`.
        settings: The `Config`.
        learning_rate: Initial learning rate of the new layers.
        steps: Number of training steps in all epochs.
    """
    model.compile(
        Adam(
            _schedule(settings.training.schedule, learning_rate, steps),
            _rate_scales(model, settings),
            global_clipnorm=settings.training.clip_norm or None,
            use_ema=settings.training.ema > 0,
            ema_momentum=settings.training.ema or 0.99,
        ),
        jit_compile=settings.training.jit_compile,
    )


def _rate_scales(model, settings):
    scales = [(model.backbone.trainable_variables, settings.training.backbone_rate)]
    if isinstance(model, AttentionModel):
        localization = model.attention.localization_variables
        scales.append((localization, settings.training.localization_rate))
    return scales


def _schedule(name, learning_rate, steps):
    if name == "constant":
        return learning_rate
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.01)
    # Section 5.1: divided by 10 after 30 of 45 epochs.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps * 2 // 3], [learning_rate, learning_rate / 10]
    )
