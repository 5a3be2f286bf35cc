"""The base of both attention layers: a `RegionLSTM` and the localisation."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from ram_tf.models.attention.content_localization import ContentLocalization
from ram_tf.models.attention.region_lstm import RegionLSTM, code_width
from ram_tf.models.choices import LOCALIZATIONS


class RegionAttention(keras.layers.Layer):
    """A layer that samples, scores and finds regions: the base of RDAR's and RARL's.

    It holds the `RegionLSTM` and what computes the next region from its state: a linear
    layer, with a kernel and a bias for each step or one of each for all steps, or a
    `ContentLocalization`. Its arguments are those of `RecurrentMemorizedAttention`.

    Raises:
        ValueError: The localisation is unknown, or "content" is given starts.
    """

    def __init__(
        self,
        num_labels: int,
        units: int,
        region_size: Sequence[int],
        region_pooling: str,
        layout_channels: int,
        starts: ArrayLike | None,
        dropout: float,
        localization: str,
        start_scale: float,
        **kwargs: Any,
    ):
        # Keras would cast theta to half precision, too.
        super().__init__(autocast=False, **kwargs)
        self.num_labels = num_labels
        self.units = units
        self.region_size = tuple(region_size)
        self.region_pooling = region_pooling
        self.layout_channels = layout_channels
        self.starts = starts
        self.dropout = dropout
        self.localization = localization
        self.start_scale = start_scale
        self.location_kernel: Any = None
        self.location_bias: Any = None
        self.content: ContentLocalization | None = None
        if localization not in LOCALIZATIONS:
            raise ValueError(
                f"Unknown localisation. Expected one of: {', '.join(LOCALIZATIONS)}. "
                f"Received: localization={localization!r}"
            )
        if localization == "content" and starts is not None:
            raise ValueError(
                "Localisation by content does not use starts. Expected starts=None. "
                f"Received: starts={starts}"
            )
        self.region_lstm = RegionLSTM(
            num_labels,
            units,
            region_pooling,
            layout_channels,
            dropout,
            name="region_lstm",
            dtype=self.dtype_policy,
        )

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        self.region_lstm.build((None, *self.region_size, features_shape[-1]))

    def add_location_weights(
        self,
        kernel_name: str,
        bias_name: str,
        biases: ArrayLike,
        initializer: str = "zeros",
    ) -> None:
        """Adds the weights that `locate` uses.

        Coordinates need float32; Keras would cast these weights to the features' type.

        Args:
            kernel_name: Name of the kernel.
            bias_name: Name of the bias.
            biases: Initial biases `(T, D)`, a row for each step, or `(1, D)` for all.
            initializer: Initialiser of the kernel. With zeros (ours) the biases alone
                place the initial regions.
        """
        biases = np.asarray(biases, "float32")
        steps, width = biases.shape
        float32 = {"dtype": "float32", "autocast": False}
        self.location_kernel = self.add_weight(
            name=kernel_name,
            shape=(steps, self.units, width),
            initializer=initializer,
            **float32,
        )
        self.location_bias = self.add_weight(
            name=bias_name,
            shape=(steps, width),
            initializer=lambda shape, dtype: tf.constant(biases, dtype),
            **float32,
        )

    def add_content(
        self, features_shape: tuple[int | None, ...], resizes: bool = True
    ) -> None:
        """Adds a `ContentLocalization`."""
        self.content = ContentLocalization(
            self.num_labels,
            self.units,
            code_width(self.units, self.num_labels),
            self.start_scale,
            resizes,
            name="content",
            dtype="float32",
        )
        self.content.build(features_shape)

    @property
    def theta_variables(self) -> list[Any]:
        """The weights that determine where the regions lie; may be empty."""
        if self.content is not None:
            return self.content.trainable_variables
        if self.location_kernel is None:
            return []
        return [self.location_kernel, self.location_bias]

    @property
    def localization_variables(self) -> list[Any]:
        """The weights that train with the learning rate of localisation."""
        return self.theta_variables

    def locate(self, state: tf.Tensor, step: int | tf.Tensor) -> tf.Tensor:
        """Applies the linear layer of a step to states: `(B, units)` to `(B, D)`."""
        kernel, bias = self.theta_variables
        row = tf.minimum(step, bias.shape[0] - 1)
        state = tf.cast(state, tf.float32)
        return tf.matmul(state, tf.gather(kernel, row)) + tf.gather(bias, row)

    def compute_output_shape(
        self, features_shape: tuple[int | None, ...]
    ) -> dict[str, tuple[int | None, ...]]:
        batch, regions = features_shape[0], self.num_regions
        return {
            "region_scores": (batch, regions, self.num_labels),
            "regions": (batch, regions, 2, 3),
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "units": self.units,
            "region_size": self.region_size,
            "region_pooling": self.region_pooling,
            "layout_channels": self.layout_channels,
            "starts": self.starts,
            "dropout": self.dropout,
            "localization": self.localization,
            "start_scale": self.start_scale,
        }
