"""Look, score, move: the recurrent memorized-attention module (paper, section 3.2)."""

import keras
import numpy as np
import tensorflow as tf

from ram_tf.spatial_transformer import SpatialTransformer, theta_to_matrix

WHOLE_MAP = (1.0, 1.0, 0.0, 0.0)  # s_x, s_y, t_x, t_y of M_0


def pool_region(region, pooling):
    """Turns a sampled region into the vector that `W_fx` multiplies.

    Args:
        region: `(B, h, w, C)`; for "flatten" h and w must be known.
        pooling: "flatten" (2x2 max-pool, then every cell apart), "average" or "max"
            over the region.

    Returns:
        `(B, C)`, or `(B, h // 2 * w // 2 * C)` for "flatten".

    Raises:
        ValueError: For any other pooling.
    """
    if pooling == "average":
        return tf.reduce_mean(region, [1, 2])
    if pooling == "max":
        return tf.reduce_max(region, [1, 2])
    if pooling == "flatten":
        pooled = tf.nn.max_pool2d(region, 2, 2, "VALID")
        return tf.reshape(pooled, [-1, np.prod(pooled.shape[1:])])
    raise ValueError(
        "Unknown pooling of regions. Expected 'flatten', 'average' or 'max'. "
        f"Received: {pooling!r}"
    )


@keras.saving.register_keras_serializable(package="ram_tf")
class MemorizedAttentionCell(keras.layers.LSTMCell):
    """The LSTM cell of Eq. 4, whose hidden state is `h = o * c`.

    It is `keras.layers.LSTMCell` but for the tanh on the memory cell, which the paper
    does not have. Kernels keep Keras' order: input, forget, modulation, output.

    Call arguments:
        inputs: `(B, D)`.
        states: The pair of `(B, units)` hidden state and memory cell.

    Returns:
        The hidden state, and the list of the new hidden state and memory cell.
    """

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
class RecurrentMemorizedAttention(keras.layers.Layer):
    """Looks at one region after another and scores the labels of each (Eq. 1-5).

    Written as plain Python, the loop is::

        theta, state = WHOLE_MAP, zeros
        for k in range(K + 1):
            region = spatial_transformer(features, theta)      # f_k
            state = cell(relu(W_fx(region)), state)            # Eq. 3-4
            z = relu(W_hz(state.hidden))                       # Eq. 5
            if k > 0: region_scores.append(W_zs(z))            # none for the whole map
            if k < K: regions.append(theta := W_zm(z) + b_m[k])

    The graph runs it as a `tf.while_loop`: its size does not grow with K, and it has a
    static maximum of iterations, without which XLA cannot compile its gradient.

    Args:
        num_labels: L.
        num_regions: K, 1 or more; 5 in the paper.
        units: Width of `x_k`, of the LSTM and of `z_k`. The paper leaves it open; 4096
            lets VGG-16's fc6 initialise `W_fx`.
        region_size: `(h, w)` that the spatial transformer samples.
        region_pooling: How a sampled region becomes a vector: "flatten" (2x2
            max-pool, then every cell has weights of its own: VGG-16's fc6), "average"
            or "max" over the region (ours: far fewer weights, for small data sets).
        starts: `(K, 4)` theta at which regions 1 ... K start, each iteration with a
            bias `b_m` of its own (ours, because one bias shared by all iterations
            leaves every region at the same place until the LSTM has learnt to tell
            them apart). None for the paper's single `b_m`, started at the whole map
            as spatial transformers are.
        dropout: Share of a region's features set to zero in training.

    Call arguments:
        features: `(B, H, W, C)` feature map `f_I`; H and W may be unknown.
        training: Whether dropout acts.

    Returns:
        A dict of float32: `region_scores` `(B, K, L)` and `regions` `(B, K, 2, 3)`.

    Reference:
        Wang et al., Multi-label Image Recognition by Recurrently Discovering
        Attentional Regions, ICCV 2017, section 3.2.
    """

    def __init__(
        self,
        num_labels,
        num_regions=5,
        units=4096,
        region_size=(14, 14),
        region_pooling="flatten",
        starts=None,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_regions < 1:
            raise ValueError(
                "The number of regions K is out of range. Expected 1 or more. "
                f"Received: num_regions={num_regions}"
            )
        if starts is not None and tf.TensorShape([num_regions, 4]) != tf.shape(starts):
            raise ValueError(
                "`starts` does not fit the number of regions. Expected shape "
                f"({num_regions}, 4). Received: {tuple(tf.shape(starts).numpy())}"
            )
        self.num_labels = num_labels
        self.num_regions = num_regions
        self.units = units
        self.region_size = tuple(region_size)
        self.region_pooling = region_pooling
        self.starts = starts
        self.dropout = dropout

        self.spatial_transformer = SpatialTransformer(self.region_size, name="st")
        # Xavier everywhere (section 5.1); Keras' cell would start its recurrent kernel
        # orthogonal.
        self.feature = keras.layers.Dense(units, "relu", name="W_fx")
        self.cell = MemorizedAttentionCell(
            units, recurrent_initializer="glorot_uniform", name="lstm"
        )
        self.hidden = keras.layers.Dense(units, "relu", name="W_hz")
        self.classifier = keras.layers.Dense(num_labels, dtype="float32", name="W_zs")
        # Coordinates need float32. The kernel starts at zero, so that the first
        # regions are where their biases put them.
        self.localization = keras.layers.Dense(
            4, use_bias=False, kernel_initializer="zeros", dtype="float32", name="W_zm"
        )
        self.region_dropout = keras.layers.Dropout(dropout)

    def build(self, features_shape):
        height, width = self.region_size
        channels = features_shape[-1]
        if self.region_pooling == "flatten":
            channels *= (height // 2) * (width // 2)
        self.feature.build((None, channels))
        self.cell.build((None, self.units))
        self.hidden.build((None, self.units))
        self.classifier.build((None, self.units))
        self.localization.build((None, self.units))
        starts = [WHOLE_MAP] if self.starts is None else self.starts
        self.b_m = self.add_weight(
            name="b_m",
            shape=(len(starts), 4),
            initializer=lambda shape, dtype: tf.constant(starts, dtype),
            dtype="float32",
        )

    def call(self, features, training=False):
        batch = tf.shape(features)[0]
        states = tf.zeros([2, batch, self.units], self.compute_dtype)
        theta = tf.tile([WHOLE_MAP], [batch, 1])
        scores = tf.TensorArray(
            tf.float32, self.num_regions + 1, element_shape=[None, self.num_labels]
        )
        thetas = tf.TensorArray(
            tf.float32, self.num_regions + 1, element_shape=[None, 4]
        )

        def look(k, theta, hidden, memory, scores, thetas):
            region = self.spatial_transformer(features, theta)
            region = pool_region(region, self.region_pooling)
            x = self.feature(self.region_dropout(region, training=training))
            hidden, (_, memory) = self.cell(x, [hidden, memory])
            z = self.hidden(hidden)
            scores = scores.write(k, self.classifier(z))
            thetas = thetas.write(k, theta)
            step = tf.minimum(k, self.b_m.shape[0] - 1)
            theta = self.localization(z) + tf.gather(self.b_m, step)
            theta = tf.ensure_shape(theta, [None, 4])
            return k + 1, theta, hidden, memory, scores, thetas

        *_, scores, thetas = tf.while_loop(
            lambda k, *_: k <= self.num_regions,
            look,
            (tf.constant(0), theta, states[0], states[1], scores, thetas),
            maximum_iterations=self.num_regions + 1,
        )
        # k = 0 looked at the whole map only to find the first region.
        return {
            "region_scores": tf.transpose(scores.stack()[1:], [1, 0, 2]),
            "regions": theta_to_matrix(tf.transpose(thetas.stack()[1:], [1, 0, 2])),
        }

    @property
    def theta_variables(self):
        """The weights that decide where the regions lie: `W_zm` and `b_m`."""
        return [*self.localization.trainable_variables, self.b_m]

    def start_as(self, classifier, feature=None, linear_range=0.03, gate=2.0):
        """Starts the recurrence so that it scores a region as a plain classifier does.

        Ours, because fresh layers throw away what step 1 knew, and small data sets do
        not teach it again. The LSTM starts by passing its input on: `m` is
        `tanh(linear_range * x)`, nearly linear, its input and output gates are open and
        its forget gate is as much closed; `W_hz` undoes the scale. What is not needed
        for this keeps a tenth of its Xavier start, so that there is something to learn
        from.

        Args:
            classifier: Kernel and bias of step 1's classifier.
            feature: Kernel and bias of its hidden layer, which become `W_fx`. None for
                a linear classifier: then `relu(x)` and `relu(-x)` of its scores are the
                first 2 L of the units, and the others are fresh.
            linear_range: Factor in front of x.
            gate: Bias of the open gates before their sigmoid.

        Raises:
            ValueError: There are too few units for a linear classifier's scores.
        """
        kernel, bias = classifier
        if feature is None:
            if self.units < 2 * self.num_labels:
                raise ValueError(
                    "Too few units to start from a linear classifier. Expected twice "
                    f"the {self.num_labels} labels or more. Received: "
                    f"units={self.units}"
                )
            signs = (
                np.concatenate([np.eye(self.num_labels)] * 2)
                * np.repeat([1.0, -1.0], self.num_labels)[:, None]
            )
            w_fx, b_fx = self.feature.get_weights()
            w_fx[:, : len(signs)] = kernel @ signs.T
            feature = w_fx, b_fx
            kernel = np.zeros((self.units, self.num_labels), "float32")
            kernel[: len(signs)] = signs
        self.feature.set_weights(feature)
        self.classifier.set_weights([kernel, bias])

        identity = np.eye(self.units, dtype="float32")
        w_x, w_h, b = (0.1 * weights for weights in self.cell.get_weights())
        modulation = slice(2 * self.units, 3 * self.units)
        # Beside linear_range times the identity, a tenth of Xavier would be noise.
        w_x[:, modulation] = linear_range * (w_x[:, modulation] + identity)
        w_h[:, modulation] *= linear_range
        b[:] = np.repeat([gate, -gate, 0.0, gate], self.units)
        self.cell.set_weights([w_x, w_h, b])
        passed = linear_range / (1.0 + np.exp(-gate)) ** 2
        w_z = 0.1 * self.hidden.get_weights()[0] + identity
        self.hidden.set_weights([w_z / passed, np.zeros(self.units, "float32")])

    def compute_output_shape(self, features_shape):
        batch, regions = features_shape[0], self.num_regions
        return {
            "region_scores": (batch, regions, self.num_labels),
            "regions": (batch, regions, 2, 3),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "num_regions": self.num_regions,
            "units": self.units,
            "region_size": self.region_size,
            "region_pooling": self.region_pooling,
            "starts": self.starts,
            "dropout": self.dropout,
        }
