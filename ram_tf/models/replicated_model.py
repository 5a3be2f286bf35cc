"""What Keras lacks to train a model on the devices of several workers."""

import keras
import tensorflow as tf


class ReplicatedModel(keras.Model):
    """A model that `fit` trains under every `tf.distribute` strategy.

    `Model.fit` of Keras 3.15 fails under a `MultiWorkerMirroredStrategy`: it builds the
    model from a batch whose parts are on several workers, and averages what is shown of
    a step over an axis that numbers do not have. On one device nothing is changed.

    The model must be built before `fit`. Its loss is to be that of a device's part of
    the batch over the number of devices.
    """

    def make_train_function(self, force=False):
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            super().make_train_function(force)
        elif force or self.train_function is None:

            @tf.function(autograph=False)
            def step(iterator):
                logs = strategy.run(self.train_step, args=(next(iterator),))
                return {n: strategy.reduce("MEAN", v, None) for n, v in logs.items()}

            self.train_function = step

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        pass
