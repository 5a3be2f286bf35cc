"""Look, score, move: the recurrent memorized-attention module (paper, section 3.2)."""

import keras
import numpy as np
import tensorflow as tf

from ram_tf.spatial_transformer import SpatialTransformer, theta_to_matrix

WHOLE_MAP = (1.0, 1.0, 0.0, 0.0)  # s_x, s_y, t_x, t_y of M_0
DESCRIPTIONS = ("pooled", "x", "z")
INPUT, FORGET, MODULATION, OUTPUT = range(4)  # Keras' order of the gates
# For `start_as`: the bias of an open gate, sigmoid(4) = 0.98, and the factor that keeps
# features of up to about 10 where tanh is linear within 3 %.
OPEN, LINEAR = 4.0, 0.03


def pool_region(region, pooling):
    """Turns a sampled region into the vector that `W_fx` multiplies.

    Args:
        region: `(B, h, w, C)`; for "flatten" h and w must be known.
        pooling: "flatten" (2x2 max-pool, then every cell apart), "average", "max", or
            "centre": an average that weighs cells by a Hann window, so that a region
            is to be centred on what it speaks for.

    Returns:
        `(B, C)`, or `(B, h // 2 * w // 2 * C)` for "flatten".

    Raises:
        ValueError: For any other pooling.
    """
    if pooling == "average":
        return tf.reduce_mean(region, [1, 2])
    if pooling == "max":
        return tf.reduce_max(region, [1, 2])
    if pooling == "centre":
        rows, columns = (np.hanning(size + 2)[1:-1] for size in region.shape[1:3])
        window = np.outer(rows, columns) / (rows.sum() * columns.sum())
        return tf.einsum("bhwc,hw->bc", region, tf.constant(window, region.dtype))
    if pooling == "flatten":
        pooled = tf.nn.max_pool2d(region, 2, 2, "VALID")
        return tf.reshape(pooled, [-1, np.prod(pooled.shape[1:])])
    raise ValueError(
        "Unknown pooling of regions. Expected 'flatten', 'average', 'max' or 'centre'. "
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
            if k < K: regions.append(theta := W_zm(z) + b_m)

    The graph runs it as a `tf.while_loop`: its size does not grow with K, and it has a
    static maximum of iterations, without which XLA cannot compile its gradient.

    Args:
        num_labels: L.
        num_regions: K, 1 or more; 5 in the paper.
        units: Width of `x_k`, of the LSTM and of `z_k`. The paper leaves it open; 4096
            lets VGG-16's fc6 initialise `W_fx`.
        region_size: `(h, w)` that the spatial transformer samples.
        region_pooling: How a sampled region becomes a vector: "flatten" (2x2
            max-pool, then every cell has weights of its own: VGG-16's fc6), "average",
            "max" or "centre" (ours: far fewer weights, for small data sets; see
            `pool_region`).
        layout_channels: Beside pooled features, `W_fx` sees this many channels of
            the region (a 1x1 convolution of it) cell by cell after a 2x2 max-pool
            (ours, because an average or maximum does not say where in the region
            something lies, and the next region is to be found from it). 0 for none;
            "flatten" needs none.
        starts: `(K, 4)` theta at which regions 1 ... K start, each iteration with a
            `W_zm` and `b_m` of its own (ours, because shared by all iterations they
            leave every region at the same place until the LSTM has learnt to tell the
            iterations apart). None for the paper's shared ones, started at the whole
            map as spatial transformers are.
        dropout: Share of a region's features set to zero in training.
        given_regions: Whether regions 1 ... K come from outside, as in section 5.3.1:
            all other parts are unchanged, but there is no `W_zm` and no `b_m`.

    Call arguments:
        features: `(B, H, W, C)` feature map `f_I`; H and W may be unknown.
        theta: `(B, K, 4)` `s_x, s_y, t_x, t_y` of the given regions, in the order in
            which they are looked at; None where the layer finds them.
        training: Whether dropout acts.
        describe: Which vector of each region to return as well: "pooled" (the sampled
            region as `W_fx` sees it, without its layout), "x" (x_k of Eq. 4) or "z"
            (z_k of Eq. 5); None for none.

    Returns:
        A dict of float32: `region_scores` `(B, K, L)` and `regions` `(B, K, 2, 3)`,
        with `describe` also `descriptions` `(B, K, D)`.

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
        layout_channels=0,
        starts=None,
        dropout=0.0,
        given_regions=False,
        **kwargs,
    ):
        # Keras would cast theta to half precision, too.
        super().__init__(autocast=False, **kwargs)
        if num_regions < 1:
            raise ValueError(
                "The number of regions K is out of range. Expected 1 or more. "
                f"Received: num_regions={num_regions}"
            )
        if starts is not None and np.shape(starts) != (num_regions, 4):
            raise ValueError(
                "`starts` does not fit the number of regions. Expected shape "
                f"({num_regions}, 4). Received: {np.shape(starts)}"
            )
        self.num_labels = num_labels
        self.num_regions = num_regions
        self.units = units
        self.region_size = tuple(region_size)
        self.region_pooling = region_pooling
        self.layout_channels = layout_channels
        self.starts = starts
        self.dropout = dropout
        self.given_regions = given_regions

        policy = self.dtype_policy
        self.spatial_transformer = SpatialTransformer(
            self.region_size, name="st", dtype=policy
        )
        # Xavier everywhere (section 5.1); Keras' cell would start its recurrent kernel
        # orthogonal.
        self.layout = layout_channels and keras.layers.Conv2D(
            layout_channels, 1, name="layout", dtype=policy
        )
        self.feature = keras.layers.Dense(units, "relu", name="W_fx", dtype=policy)
        self.cell = MemorizedAttentionCell(
            units, recurrent_initializer="glorot_uniform", name="lstm", dtype=policy
        )
        self.hidden = keras.layers.Dense(units, "relu", name="W_hz", dtype=policy)
        self.classifier = keras.layers.Dense(num_labels, dtype="float32", name="W_zs")
        self.region_dropout = keras.layers.Dropout(dropout, dtype=policy)

    def build(self, features_shape):
        height, width = self.region_size
        channels, cells = features_shape[-1], (height // 2) * (width // 2)
        inputs = channels * cells if self.region_pooling == "flatten" else channels
        if self.layout:
            self.layout.build((None, height, width, channels))
            inputs += self.layout_channels * cells
        self.feature.build((None, inputs))
        self.cell.build((None, self.units))
        self.hidden.build((None, self.units))
        self.classifier.build((None, self.units))
        if self.given_regions:
            return
        # Coordinates need float32, which Keras would cast to the features' type. The
        # kernel starts at zero, so that the first regions are where their biases put
        # them.
        starts = [WHOLE_MAP] if self.starts is None else self.starts
        self.w_zm = self.add_weight(
            name="W_zm",
            shape=(len(starts), self.units, 4),
            initializer="zeros",
            dtype="float32",
            autocast=False,
        )
        self.b_m = self.add_weight(
            name="b_m",
            shape=(len(starts), 4),
            initializer=lambda shape, dtype: tf.constant(starts, dtype),
            dtype="float32",
            autocast=False,
        )

    def call(self, features, theta=None, training=False, describe=None):
        given = theta
        batch = tf.shape(features)[0]
        states = tf.zeros([2, batch, self.units], self.compute_dtype)
        theta = tf.tile([WHOLE_MAP], [batch, 1])
        scores = tf.TensorArray(
            tf.float32, self.num_regions + 1, element_shape=[None, self.num_labels]
        )
        thetas = tf.TensorArray(
            tf.float32, self.num_regions + 1, element_shape=[None, 4]
        )
        described = [tf.TensorArray(tf.float32, self.num_regions + 1)] * bool(describe)

        def look(k, theta, hidden, memory, scores, thetas, *described):
            region = self.spatial_transformer(features, theta)
            pooled = pool_region(region, self.region_pooling)
            pooled = self.region_dropout(pooled, training=training)
            inputs = pooled
            if self.layout:
                layout = pool_region(self.layout(region), "flatten")
                inputs = tf.concat([pooled, layout], -1)
            x = self.feature(inputs)
            hidden, (_, memory) = self.cell(x, [hidden, memory])
            z = self.hidden(hidden)
            scores = scores.write(k, self.classifier(z))
            thetas = thetas.write(k, theta)
            if describe:
                chosen = {"pooled": pooled, "x": x, "z": z}[describe]
                described = [described[0].write(k, tf.cast(chosen, tf.float32))]
            if self.given_regions:
                theta = tf.gather(given, tf.minimum(k, self.num_regions - 1), axis=1)
            else:
                step = tf.minimum(k, self.b_m.shape[0] - 1)
                kernel, bias = tf.gather(self.w_zm, step), tf.gather(self.b_m, step)
                theta = tf.matmul(tf.cast(z, tf.float32), kernel) + bias
            theta = tf.ensure_shape(theta, [None, 4])
            return k + 1, theta, hidden, memory, scores, thetas, *described

        _, _, _, _, scores, thetas, *described = tf.while_loop(
            lambda k, *_: k <= self.num_regions,
            look,
            (tf.constant(0), theta, states[0], states[1], scores, thetas, *described),
            maximum_iterations=self.num_regions + 1,
        )
        # k = 0 looked at the whole map only to find the first region.
        outputs = {"region_scores": scores, "regions": thetas}
        if describe:
            outputs["descriptions"] = described[0]
        outputs = {
            name: tf.transpose(array.stack()[1:], [1, 0, 2])
            for name, array in outputs.items()
        }
        return {**outputs, "regions": theta_to_matrix(outputs["regions"])}

    @property
    def theta_variables(self):
        """The weights that decide where the regions lie: `W_zm` and `b_m`, if any."""
        return [] if self.given_regions else [self.w_zm, self.b_m]

    def start_as(self, classifier, feature=None, context=0.5):
        """Starts the recurrence so that it scores regions as a plain classifier does.

        Ours, because fresh layers throw away what step 1 knew, and small data sets do
        not teach it again. With `F` features that the classifier needs, the units are:

        - `F` that pass the region on: input and output gate open, forget gate closed;
        - `F` that remember the whole map: written at k = 0, then kept;
        - one that is 0 before the first step and on ever after, which closes the input
          gates of those that remember;
        - the others, with a fresh `W_fx`: half of them remember the whole map, too, to
          find regions by; half are left to be learnt.

        A region's score is then `(1 - context) * classifier(region) + context *
        classifier(whole map)`, up to the tanh of `m`, which is kept nearly linear.

        Args:
            classifier: Kernel and bias of step 1's classifier.
            feature: Kernel and bias of its hidden layer: F is its width. None for a
                linear classifier: the features are then `relu(s)` and `relu(-s)` of its
                scores, F = 2 L.
            context: Share of the whole map in a region's scores, in [0, 1].

        Raises:
            ValueError: There are fewer than 2 F + 1 units.
        """
        kernel, bias = classifier
        if feature is None:
            identity = np.eye(self.num_labels, dtype="float32")
            signs = np.concatenate([identity, -identity])  # (2 L, L)
            feature, kernel = (kernel @ signs.T, np.zeros(len(signs))), signs
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
        # Rows beyond the pooled features are those of the layout.
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
            "layout_channels": self.layout_channels,
            "starts": self.starts,
            "dropout": self.dropout,
            "given_regions": self.given_regions,
        }
