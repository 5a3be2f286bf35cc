"""The network of an exported model: a graph built once, and each weight stored once.

`keras.export.ExportArchive` would write every weight twice, and the graph once for each
signature.
"""

import keras
import tensorflow as tf

from ram_tf.storage import short_floats


class StoredNetwork:
    """A view as one function in the graph, which all signatures call.

    It has the attributes of the view and is called like it.

    Args:
        view: A `MultiView` of trained models, or a wrapper of one.
        weight_bits: 32, or 16 to store large weights as `short_floats` does: half of
            the file, and slightly different scores. The graph computes with 32 bits in
            both; whatever loads the model lengthens the weights, once.
    """

    def __init__(self, view, weight_bits=32):
        self.view = view
        variables = {id(v): v for model in view.models for v in model.variables}
        # In the models' order, in which `variables/N` names them in the checkpoint.
        self._stored = [
            _Stored(number, variable, weight_bits)
            for number, variable in enumerate(variables.values())
        ]
        self._forward = tf.function(self._compute, autograph=False)

    def __getattr__(self, name):
        return getattr(self.view, name)

    def __call__(self, images):
        return self._forward(*images)

    def _compute(self, *images):
        read = [(each.variable, each.read()) for each in self._stored if each.is_short]
        with keras.StatelessScope(read):
            return self.view(images)

    def save(self, folder, signatures):
        """Writes a SavedModel.

        Args:
            folder: Its new folder.
            signatures: Name -> `tf.function` with an input signature.
        """
        short = {str(each.number): each for each in self._stored if each.is_short}
        root = tf.train.Checkpoint(
            variables=[each.values for each in self._stored],
            scales={number: each.scale for number, each in short.items()},
            lengthened={number: each.lengthened for number, each in short.items()},
        )
        # The graph is for predictions: without the gradients of custom operations.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(root, folder, signatures, options)


class _Stored:
    """A variable of Keras and what the file holds of it."""

    def __init__(self, number, variable, weight_bits):
        self.number = number
        self.variable = variable
        self.values = variable.value
        array = self.values.numpy()
        self.is_short = weight_bits == 16 and short_floats.can_shorten(array)
        if self.is_short:
            short, scale = short_floats.shorten(array)
            name = self.values.name.partition(":")[0]
            self.values = tf.Variable(short, trainable=False, name=name)
            self.scale = tf.Variable(scale, trainable=False)
            name = f"lengthened_{number}"
            self.lengthened = _Lengthened(name, self.values, self.scale)
            # Made here, since a graph that made it would own it.
            self._handle = self.lengthened.resource_handle

    def read(self):
        """Returns the weights in the graph as float32."""
        read = tf.raw_ops.ReadVariableOp(resource=self._handle, dtype=tf.float32)
        return tf.ensure_shape(read, self.values.shape)


class _Lengthened(tf.saved_model.experimental.TrackableResource):
    """A float32 variable that is not in the file, but assigned when the file is loaded.

    Like a table of TensorFlow it stays as long as the session, or else the process,
    that has loaded it.

    Args:
        name: Its name, which no other variable of the model has.
        short: The int16 variable that is in the file.
        scale: The float32 variable of its scales.
    """

    def __init__(self, name, short, scale):
        super().__init__()
        self._name, self._short, self._scale = name, short, scale

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self._short.shape, shared_name=self._name
        )

    def _initialize(self):
        value = tf.cast(self._short.read_value(), tf.float32) * self._scale.read_value()
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)
