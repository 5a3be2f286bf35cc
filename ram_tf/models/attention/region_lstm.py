"""The recurrent network that scores one region after another (Eq. 3-5).

RDAR and RARL share it; they differ in how they find the next region.
"""

import keras
import numpy as np
import tensorflow as tf

INPUT, FORGET, MODULATION, OUTPUT = range(4)  # Keras' order of the gates
# For `start_as`: the bias of an open gate, sigmoid(4) = 0.98, and the factor that keeps
# features of up to about 10 in the range where tanh is linear within 3 %.
OPEN, LINEAR = 4.0, 0.03


def pool_region(region, pooling):
    """Pools a sampled region to the vector that `W_fx` multiplies.

    Args:
        region: `(B, h, w, C)`; for "flatten" h and w must be known.
        pooling: "flatten" (2x2 max-pool, then all cells concatenated), "average",
            "max", or "centre": an average with the weights of a Hann window, so that a
            region must be centred on its object.

    Returns:
        `(B, C)`, or `(B, h // 2 * w // 2 * C)` for "flatten".

    Raises:
        ValueError: The pooling is unknown.
    """
    if pooling == "average":
        return tf.reduce_mean(region, [1, 2])
    if pooling == "max":
        return tf.reduce_max(region, [1, 2])
    if pooling == "centre":
        rows, columns = (np.hanning(size + 2)[1:-1] for size in region.shape[1:3])
        window = np.outer(rows, columns).ravel() / (rows.sum() * columns.sum())
        cells = tf.reshape(region, [-1, len(window), region.shape[-1]])
        # A matrix product, since an einsum over the region would transpose it first.
        return tf.matmul(tf.constant(window[None, None], region.dtype), cells)[:, 0]
    if pooling == "flatten":
        pooled = tf.nn.max_pool2d(region, 2, 2, "VALID")
        return tf.reshape(pooled, [-1, np.prod(pooled.shape[1:])])
    raise ValueError(
        "Unknown pooling of regions. Expected 'flatten', 'average', 'max' or 'centre'. "
        f"Received: {pooling!r}"
    )


def code_width(units, num_labels):
    """Returns the rank at which a state of `units` can hold a linear classifier.

    Each number takes four units, and one unit serves all, see `RegionLSTM.start_as`.
    The rank is L, which is exact, but at most a quarter of the units.
    """
    return max(1, min(num_labels, (units - 1) // 4))


def factored(kernel, rank):
    """Factors a kernel `(D, L)` into `(D, rank)` and `(rank, L)`.

    It is exact if `rank` is L or more: then the second factor is the identity.
    Otherwise the product is the best approximation of that rank, by its singular
    values.
    """
    count = kernel.shape[1]
    if rank >= count:
        return kernel, np.eye(count, dtype="float32")
    left, values, right = np.linalg.svd(kernel, full_matrices=False)
    # The square root in each factor keeps both at the same scale.
    root = np.sqrt(values[:rank])
    factors = left[:, :rank] * root, root[:, None] * right[:rank]
    missing = rank - len(root)  # where D is less than the rank
    return (
        np.pad(factors[0], [(0, 0), (0, missing)]),
        np.pad(factors[1], [(0, missing), (0, 0)]),
    )


# The arguments of an LSTMCell that Eq. 4 determines.
OF_EQUATION_4 = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
}


@keras.saving.register_keras_serializable(package="ram_tf")
class MemorizedAttentionCell(keras.layers.LSTMCell):
    """The LSTM cell of Eq. 4, whose hidden state is `h = o * c`.

    It is `keras.layers.LSTMCell` without the tanh on the memory cell, which Eq. 4 does
    not have. Kernels keep Keras' order: input, forget, modulation, output.

    Args:
        units: Width of the hidden state and of the memory cell.
        **kwargs: Other arguments of `keras.layers.LSTMCell`, except those that Eq. 4
            determines.

    Call arguments:
        inputs: `(B, D)`.
        states: The pair of `(B, units)` hidden state and memory cell.

    Returns:
        The hidden state, and the list of the new hidden state and memory cell.

    Raises:
        ValueError: An argument contradicts Eq. 4.
    """

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        config = self.get_config()
        for name, value in OF_EQUATION_4.items():
            if config[name] != value:
                raise ValueError(
                    f"{name} contradicts Eq. 4. Expected {value!r}. "
                    f"Received: {config[name]!r}"
                )

    def call(self, inputs, states, training=False):
        hidden, memory = states
        gates = keras.ops.matmul(inputs, self.kernel)
        gates += keras.ops.matmul(hidden, self.recurrent_kernel) + self.bias
        input_gate, forget_gate, modulation, output_gate = keras.ops.split(gates, 4, -1)
        memory = keras.ops.sigmoid(forget_gate) * memory + keras.ops.sigmoid(
            input_gate
        ) * keras.ops.tanh(modulation)
        hidden = keras.ops.sigmoid(output_gate) * memory
        return hidden, [hidden, memory]


@keras.saving.register_keras_serializable(package="ram_tf")
class RegionLSTM(keras.layers.Layer):
    """Scores a region given the state after the regions before it (Eq. 3-5).

    Its sublayers are `feature` (`W_fx`), `cell` (Eq. 4), `hidden` (`W_hz`) and
    `classifier` (`W_zs`)::

        x = relu(W_fx(region))
        state = cell(x, state)
        z = relu(W_hz(state.hidden))
        scores = W_zs(z)

    Args:
        num_labels: L.
        units: Width of `x_k`, of the LSTM and of `z_k`.
        region_pooling: How a region becomes a vector, see `pool_region`.
        layout_channels: Number of channels (from a 1x1 convolution of the region) that
            `W_fx` receives cell by cell after a 2x2 max-pool, in addition to the pooled
            features (ours, because an average or maximum loses where in the region
            something lies, which finding the next region needs). 0 for none; "flatten"
            needs none.
        dropout: Share of a region's features set to zero in training.

    Call arguments:
        region: `(B, h, w, C)`, h and w known, in the layer's compute type.
        states: The pair of `(B, units)` hidden state and memory cell.
        training: Whether dropout acts.

    Returns:
        float32 `scores` `(B, L)`, the new pair of states, and the vectors that describe
        the region by name: "pooled" (the input of `W_fx` without the layout), "x" (x_k
        of Eq. 4) and "z" (z_k of Eq. 5).
    """

    def __init__(
        self,
        num_labels,
        units=4096,
        region_pooling="flatten",
        layout_channels=0,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.num_labels = num_labels
        self.units = units
        self.region_pooling = region_pooling
        self.layout_channels = layout_channels
        self.dropout = dropout

        policy = self.dtype_policy
        # Xavier everywhere (section 5.1), whereas Keras' default for the recurrent
        # kernel is orthogonal.
        self.layout = None
        if layout_channels:
            self.layout = keras.layers.Conv2D(
                layout_channels, 1, name="layout", dtype=policy
            )
        self.feature = keras.layers.Dense(units, "relu", name="W_fx", dtype=policy)
        self.cell = MemorizedAttentionCell(
            units, recurrent_initializer="glorot_uniform", name="lstm", dtype=policy
        )
        self.hidden = keras.layers.Dense(units, "relu", name="W_hz", dtype=policy)
        self.classifier = keras.layers.Dense(num_labels, dtype="float32", name="W_zs")
        self.region_dropout = keras.layers.Dropout(dropout, dtype=policy)

    def build(self, region_shape):
        _, height, width, channels = region_shape
        cells = (height // 2) * (width // 2)
        inputs = channels * cells if self.region_pooling == "flatten" else channels
        self.pooled_width = inputs
        if self.layout:
            self.layout.build((None, height, width, channels))
            inputs += self.layout_channels * cells
        self.feature.build((None, inputs))
        self.cell.build((None, self.units))
        self.hidden.build((None, self.units))
        self.classifier.build((None, self.units))

    def call(self, region, states, training=False):
        pooled = pool_region(region, self.region_pooling)
        pooled = self.region_dropout(pooled, training=training)
        inputs = pooled
        if self.layout:
            layout = pool_region(self.layout(region), "flatten")
            inputs = tf.concat([pooled, layout], -1)
        x = self.feature(inputs)
        hidden, states = self.cell(x, states)
        z = self.hidden(hidden)
        return self.classifier(z), states, {"pooled": pooled, "x": x, "z": z}

    def width_of(self, description):
        """Returns the length D of one of the `DESCRIPTIONS`, once it is built."""
        return self.pooled_width if description == "pooled" else self.units

    def start_as(self, classifier, feature=None, context=0.5):
        """Initialises the recurrence to score regions as a plain classifier does.

        Ours, because random layers lose what step 1 has learned, and small datasets are
        not enough to learn it again. With `F` features that the classifier needs, the
        units are:

        - `F` that pass the region on: input and output gate open, forget gate closed;
        - `F` that remember the whole map: written at k = 0, then kept;
        - one that is 0 before the first step and positive afterwards, which then closes
          the input gates of those that remember;
        - the others, with a random `W_fx`: half of them remember the whole map, too, to
          find regions with; half keep their random weights.

        A region's score is then `(1 - context) * classifier(region) + context *
        classifier(whole map)`, up to the tanh of `m`, which is kept nearly linear.

        Args:
            classifier: Kernel and bias of step 1's classifier.
            feature: Kernel and bias of its hidden layer: F is its width. None for a
                linear classifier: the features are then `relu(s)` and `relu(-s)` of the
                numbers s that its scores are linear in, F = 2 `code_width`. These are
                the scores themselves if there are enough units, see `factored`.
            context: Share of the whole map in a region's scores, in [0, 1].

        Returns:
            None for a hidden layer. For a linear classifier its kernel's factors, see
            `factored`, and `(units, code_width)`, which maps a state `z_k` to the whole
            map's numbers s.

        Raises:
            ValueError: There are fewer than 2 F + 1 units, or no label fits.
        """
        kernel, bias = classifier
        linear = feature is None
        if linear:
            width = code_width(self.units, self.num_labels)
            identity = np.eye(width, dtype="float32")
            # Maps scores s to the features s and -s, before the relu.
            read = np.concatenate([identity, -identity])  # (2 width, width)
            codes, labels = factored(kernel, width)
            feature, kernel = (codes @ read.T, np.zeros(len(read))), read @ labels
        rows, count = feature[0].shape
        if self.units < 2 * count + 1:
            raise ValueError(
                "Too few units to start from step 1's classifier. Expected at least "
                f"{2 * count + 1}. Received: units={self.units}"
            )
        passing, marker = slice(0, count), 2 * count
        kept = (marker + 1 + self.units) // 2
        remembering = np.r_[count : 2 * count, marker + 1 : kept]
        used, own = slice(0, 2 * count), np.r_[0 : 2 * count, marker + 1 : kept]

        w_fx, b_fx = self.feature.get_weights()
        # The rows after the pooled features are those of the layout.
        w_fx[rows:, used] = 0.0
        w_fx[:rows, used], b_fx[used] = np.tile(feature[0], 2), np.tile(feature[1], 2)
        self.feature.set_weights([w_fx, b_fx])

        # (inputs, 4 gates, units)
        w_x, w_h, b = (
            weights.reshape(*weights.shape[:-1], 4, self.units)
            for weights in self.cell.get_weights()
        )
        for weights in (w_x, w_h):
            weights[..., :kept] = 0.0
        w_x[own, MODULATION, own] = LINEAR
        b[INPUT, :kept] = b[OUTPUT, :kept] = OPEN
        b[FORGET, passing] = b[FORGET, marker] = -OPEN
        b[FORGET, remembering] = 2 * OPEN
        b[MODULATION, marker] = OPEN
        w_h[marker, INPUT, remembering] = -4.0 * OPEN
        self.cell.set_weights(
            [weights.reshape(*weights.shape[:-2], -1) for weights in (w_x, w_h, b)]
        )

        w_z, b_z = self.hidden.get_weights()
        opened = 1.0 / (1.0 + np.exp(-OPEN))
        w_z[:, own] = 0.0
        w_z[own, own] = 1.0 / (LINEAR * opened**2)
        self.hidden.set_weights([w_z, b_z])
        w_zs = np.zeros((self.units, self.num_labels))
        w_zs[passing] = (1 - context) * kernel
        w_zs[count : 2 * count] = context * kernel
        self.classifier.set_weights([w_zs, bias])
        if not linear:
            return None
        readout = np.zeros((self.units, width), "float32")
        readout[count : 2 * count] = read
        return (codes, labels), readout

    def get_config(self):
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "units": self.units,
            "region_pooling": self.region_pooling,
            "layout_channels": self.layout_channels,
            "dropout": self.dropout,
        }
