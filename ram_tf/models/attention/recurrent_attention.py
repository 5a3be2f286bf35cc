"""The recurrent memorized-attention module of RDAR (paper, section 3.2)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from ram_tf.models.attention.region_attention import RegionAttention
from ram_tf.models.attention.spatial_transformer import (
    WHOLE_MAP,
    SpatialTransformer,
    theta_to_matrix,
)


@keras.saving.register_keras_serializable(package="ram_tf")
class RecurrentMemorizedAttention(RegionAttention):
    """Finds K regions one after another and scores the labels of each (Eq. 1-5).

    Written as plain Python, the loop is::

        theta, state = WHOLE_MAP, zeros
        for k in range(K + 1):
            region = spatial_transformer(features, theta)      # f_k
            state = cell(relu(W_fx(region)), state)            # Eq. 3-4
            z = relu(W_hz(state.hidden))                       # Eq. 5
            if k > 0: region_scores.append(W_zs(z))            # none for the whole map
            if k < K: regions.append(theta := W_zm(z) + b_m)

    With localization "content" a `ContentLocalization` replaces the last line. The
    graph runs it as a `tf.while_loop`: its size does not grow with K, and it has a
    static maximum of iterations, without which XLA cannot compile its gradient.

    Args:
        num_labels: L.
        num_regions: K, 1 or more; 5 in the paper.
        units: Width of `x_k`, of the LSTM and of `z_k`. The paper does not specify it;
            with 4096, VGG-16's fc6 can initialise `W_fx`.
        region_size: `(h, w)` that the spatial transformer samples.
        region_pooling: How a sampled region becomes a vector, see `pool_region`:
            "flatten" is that of VGG-16's fc6; the others (ours) have far fewer weights,
            for small datasets.
        layout_channels: See `RegionLSTM`.
        starts: `(K, 4)` theta at which regions 1 ... K start; each iteration then has
            its own `b_m`, and its own `W_zm` that starts at zero (ours, because shared
            ones place regions by chance until the LSTM distinguishes the iterations).
            None for the paper's shared ones: `W_zm` by Xavier, `b_m` the whole map, as
            in spatial transformers.
        dropout: Share of a region's features set to zero in training.
        localization: "linear", the paper's Eq. 5, or "content" (ours), which finds
            regions in the feature map, see `ContentLocalization`.
        start_scale: With "content", the initial size of regions as a share of the map's
            edge.
        given_regions: Whether regions 1 ... K are an input, as in section 5.3.1: all
            other parts are unchanged, but there is no `W_zm` and no `b_m`.

    Call arguments:
        features: `(B, H, W, C)` feature map `f_I`; H and W may be unknown.
        theta: `(B, K, 4)` `s_x, s_y, t_x, t_y` of the given regions, in the order in
            which they are processed; None if the layer finds them.
        training: Whether dropout acts.
        describe: One of `DESCRIPTIONS`, the vector of each region to return, too; None
            for none.

    Returns:
        A dict of float32: `region_scores` `(B, K, L)` and `regions` `(B, K, 2, 3)`,
        with `describe` also `descriptions` `(B, K, D)`.

    Reference:
        Wang et al., Multi-label Image Recognition by Recurrently Discovering
        Attentional Regions, ICCV 2017, section 3.2.
    """

    regions_a_step = 1

    def __init__(
        self,
        num_labels: int,
        num_regions: int = 5,
        units: int = 4096,
        region_size: Sequence[int] = (14, 14),
        region_pooling: str = "flatten",
        layout_channels: int = 0,
        starts: ArrayLike | None = None,
        dropout: float = 0.0,
        localization: str = "linear",
        start_scale: float = 0.25,
        given_regions: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            num_labels,
            units,
            region_size,
            region_pooling,
            layout_channels,
            starts,
            dropout,
            localization,
            start_scale,
            **kwargs,
        )
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
        self.num_regions = num_regions
        self.given_regions = given_regions
        self.spatial_transformer = SpatialTransformer(
            self.region_size, name="st", dtype=self.dtype_policy
        )

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        if self.given_regions:
            return
        if self.localization == "content":
            self.add_content(features_shape)
        else:
            # Xavier, as all new layers (section 5.1), except where `starts` alone
            # place the initial regions.
            biases: ArrayLike = [WHOLE_MAP]
            initializer = "glorot_uniform"
            if self.starts is not None:
                biases, initializer = self.starts, "zeros"
            self.add_location_weights("W_zm", "b_m", biases, initializer)

    def call(
        self,
        features: tf.Tensor,
        theta: tf.Tensor | None = None,
        training: bool = False,
        describe: str | None = None,
    ) -> dict[str, tf.Tensor]:
        given = theta
        batch = tf.shape(features)[0]
        hidden, memory = tf.unstack(
            tf.zeros([2, batch, self.units], self.compute_dtype)
        )
        theta = tf.tile([WHOLE_MAP], [batch, 1])
        shapes = {"region_scores": [self.num_labels], "regions": [4]}
        if describe:
            shapes["descriptions"] = [self.region_lstm.width_of(describe)]
        rows = features.shape[0]  # LiteRT's arrays need the batch size if it is static
        arrays = {
            name: tf.TensorArray(
                tf.float32, self.num_regions + 1, element_shape=[rows, *shape]
            )
            for name, shape in shapes.items()
        }
        evidence, explained = None, ()
        if self.content is not None:
            evidence = self.content.read(features)
            explained = self.content.begin(evidence)

        def step(k, theta, hidden, memory, explained, arrays):
            region = self.spatial_transformer(features, theta)
            scores, (hidden, memory), vectors = self.region_lstm(
                region, [hidden, memory], training=training
            )
            values = {"region_scores": scores, "regions": theta}
            if describe:
                values["descriptions"] = tf.cast(vectors[describe], tf.float32)
            arrays = {name: arrays[name].write(k, values[name]) for name in arrays}
            if self.given_regions:
                theta = tf.gather(given, tf.minimum(k, self.num_regions - 1), axis=1)
            elif self.content is not None:
                theta = self.content.locate(vectors["z"], evidence, explained)
                explained = self.content.explain(theta, evidence, explained)
            else:
                theta = self.locate(vectors["z"], k)
            theta = tf.ensure_shape(theta, [None, 4])
            return k + 1, theta, hidden, memory, explained, arrays

        *_, arrays = tf.while_loop(
            lambda k, *_: k <= self.num_regions,
            step,
            (tf.constant(0), theta, hidden, memory, explained, arrays),
            maximum_iterations=self.num_regions + 1,
        )
        # k = 0 is the whole map, which only serves to find the first region.
        outputs = {
            name: tf.transpose(array.stack()[1:], [1, 0, 2])
            for name, array in arrays.items()
        }
        return {**outputs, "regions": theta_to_matrix(outputs["regions"])}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_regions": self.num_regions,
            "given_regions": self.given_regions,
        }
