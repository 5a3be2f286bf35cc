"""The attention of RARL: an agent that chooses its locations.

docs/rarl.md lists what is from the paper and what is ours.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from ram_tf.models import policy_gradient
from ram_tf.models.attention.region_attention import RegionAttention
from ram_tf.models.attention.region_scales import (
    RATIOS,
    SIDES,
    region_scales,
    regions_at,
)
from ram_tf.models.attention.spatial_transformer import (
    WHOLE_MAP,
    sample_region,
    theta_to_matrix,
)

LOCATIONS = ("learnt", "random", "fixed")


@keras.saving.register_keras_serializable(package="ram_tf")
class ReinforcedAttention(RegionAttention):
    """Chooses T locations one after another and scores k regions around each.

    Written as plain Python, the loop is::

        state = region_lstm(whole_map, zeros)                # only to choose l_1
        for t in range(T):
            mean = tanh(W_loc(state.hidden) + b_loc)         # f_loc; or by content
            location = mean + sigma * normal() if training else mean
            results = [region_lstm(region, state) for region in regions_at(location)]
            region_scores += [scores for scores, _ in results]
            state = average(states of results)

    The graph runs it as a `tf.while_loop` with the static maximum of iterations that
    XLA needs. In training, every image has `episodes` of its own; they share the
    feature map and the first step on the whole image, which are computed once.

    No gradient reaches a location through the sampler. Locations are trained by
    `log_probabilities`, whose gradient goes through the means into `W_loc` (by content:
    into the weights of the `ContentLocalization`) and on through the states into the
    LSTM and the features. `baselines` are computed from the states as constants: their
    loss reaches only the layer `baseline` (ours).

    Args:
        num_labels: L.
        num_steps: T, 1 or more.
        units: Width of the LSTM and of the layers around it.
        region_size: `(h, w)` that regions are sampled to.
        region_pooling: How a sampled region becomes a vector, see `pool_region`.
        layout_channels: See `RegionLSTM`.
        starts: `(T, 2)` `t_x, t_y` in (-1, 1): the initial means, each step with its
            own `W_loc` and `b_loc` (ours), or the "fixed" locations. None for a shared
            layer that starts in the middle.
        dropout: Share of a region's features set to zero in training.
        localization: "linear", `f_loc` above, or "content" (ours): the policy's mean is
            the next location of a `ContentLocalization`.
        start_scale: Size of the part of the map that a location explains, see
            `ContentLocalization`.
        locations: "learnt", by the policy; "random", uniform in [-1, 1], drawn for each
            step; "fixed", at `starts`. The last two have no policy.
        sigma: Standard deviation of the policy in training, more than 0.
        episodes: M, sampled for each image in training, 1 or more; fixed locations are
            not sampled and have one.
        sides: See `region_scales`.
        ratios: See `region_scales`.
        seed: Seed of what is drawn in training. Random locations at inference are drawn
            from it directly, so that they are the same for the same batch.

    Call arguments:
        features: `(B, H, W, C)` feature map `f_I`; H and W may be unknown.
        training: Whether dropout acts and locations are sampled.
        describe: See `RecurrentMemorizedAttention`.

    Returns:
        The dict of `RecurrentMemorizedAttention`, with K = T k regions, ordered by step
        first. In training it has B M rows, the episodes of an image one after another.
        If locations are learnt, it then also has `locations` `(B M, T, 2)` as sampled
        (regions lie at the locations clipped to [-1, 1]), their `log_probabilities`
        `(B M, T)` and the expected rewards `baselines` `(B M, T)`.

    Reference:
        Chen et al., Recurrent Attentional Reinforcement Learning for Multi-label Image
        Recognition, AAAI 2018; the policy as in Mnih et al., Recurrent Models of Visual
        Attention, 2014.
    """

    given_regions = False

    def __init__(
        self,
        num_labels: int,
        num_steps: int = 5,
        units: int = 4096,
        region_size: Sequence[int] = (14, 14),
        region_pooling: str = "flatten",
        layout_channels: int = 0,
        starts: ArrayLike | None = None,
        dropout: float = 0.0,
        localization: str = "linear",
        start_scale: float = 0.25,
        locations: str = "learnt",
        sigma: float = 0.2,
        episodes: int = 1,
        sides: Sequence[float] = SIDES,
        ratios: Sequence[float] = RATIOS,
        seed: int = 0,
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
        if locations not in LOCATIONS:
            raise ValueError(
                f"Unknown kind of locations. Expected one of: {', '.join(LOCATIONS)}. "
                f"Received: locations={locations!r}"
            )
        if num_steps < 1 or episodes < 1 or sigma <= 0:
            raise ValueError(
                "An argument of the agent is out of range. Expected num_steps and "
                "episodes of 1 or more and a sigma above 0. Received: "
                f"num_steps={num_steps}, episodes={episodes}, sigma={sigma}"
            )
        if starts is not None or locations == "fixed":
            _check_starts(starts, num_steps)
        self.num_steps = num_steps
        self.locations = locations
        self.sigma = sigma
        self.episodes = episodes
        self.sides = tuple(sides)
        self.ratios = tuple(ratios)
        self.seed = seed

        self.scales = region_scales(sides, ratios)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.baseline: Any = None
        if self.learns_locations:
            # It starts at the middle of the range of rewards.
            self.baseline = keras.layers.Dense(
                1,
                kernel_initializer="zeros",
                bias_initializer=keras.initializers.Constant(0.5),
                dtype="float32",
                name="baseline",
            )

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        if not self.learns_locations:
            return
        self.baseline.build((None, self.units))
        if self.localization == "content":
            self.add_content(features_shape, resizes=False)
            return
        starts = np.zeros((1, 2)) if self.starts is None else np.array(self.starts)
        self.add_location_weights("W_loc", "b_loc", np.arctanh(starts))

    def call(
        self,
        features: tf.Tensor,
        training: bool = False,
        describe: str | None = None,
    ) -> dict[str, tf.Tensor]:
        features = tf.cast(features, self.compute_dtype)
        samples = training and self.locations != "fixed"
        episodes = self.episodes if samples else 1
        hidden, memory = (
            _repeat(state, episodes)
            for state in self._initial_states(features, training)
        )
        evidence, explained = None, ()
        if self.content is not None:
            evidence = self.content.read(features)
            evidence = evidence._replace(
                scores=_repeat(evidence.scores, episodes),
                whole=_repeat(evidence.whole, episodes),
            )
            explained = self.content.begin(evidence)
        rows, steps, count = tf.shape(hidden)[0], self.num_steps, len(self.scales)
        drawn = self._draw(rows, training)
        trains_policy = training and self.learns_locations
        shapes = {"locations": [2], "region_scores": [count, self.num_labels]}
        if trains_policy:
            shapes |= {"means": [2], "baselines": []}
        if describe:
            shapes["descriptions"] = [count, self.region_lstm.width_of(describe)]
        static = hidden.shape[0]  # LiteRT's arrays need the batch size if it is static
        arrays = {
            name: tf.TensorArray(tf.float32, steps, element_shape=[static, *shape])
            for name, shape in shapes.items()
        }

        def step(t, hidden, memory, explained, arrays):
            mean = self._mean(t, hidden, evidence, explained)
            location, values = self._choose(t, mean, hidden, drawn, trains_policy)
            centre = tf.clip_by_value(location, -1.0, 1.0)
            if self.content is not None:
                scale = tf.fill(tf.shape(centre), self.start_scale)
                region = tf.concat([scale, centre], -1)
                explained = self.content.explain(region, evidence, explained)
            theta = regions_at(centre, self.scales)
            # All episodes of an image sample the same map.
            theta = tf.reshape(theta, [-1, episodes * count, 4])
            regions = sample_region(features, theta, self.region_size)
            regions = tf.reshape(regions, [-1, *regions.shape[2:]])
            states = [_repeat(state, count) for state in (hidden, memory)]
            scores, states, vectors = self.region_lstm(
                regions, states, training=training
            )
            values |= {"locations": location, "region_scores": scores}
            if describe:
                values["descriptions"] = tf.cast(vectors[describe], tf.float32)
            arrays = {
                name: array.write(t, tf.reshape(values[name], [-1, *shapes[name]]))
                for name, array in arrays.items()
            }
            hidden, memory = (
                tf.reduce_mean(tf.reshape(state, [-1, count, self.units]), 1)
                for state in states
            )
            return t + 1, hidden, memory, explained, arrays

        *_, arrays = tf.while_loop(
            lambda t, *_: t < steps,
            step,
            (tf.constant(0), hidden, memory, explained, arrays),
            maximum_iterations=steps,
        )
        values = {name: _rows_first(array.stack()) for name, array in arrays.items()}
        return self._outputs(values)

    def _initial_states(self, features, training):
        """Returns the LSTM's states after the whole map, from which l_1 is chosen."""
        batch = tf.shape(features)[0]
        theta = tf.tile([WHOLE_MAP], [batch, 1])
        zeros = tf.zeros([batch, self.units], self.compute_dtype)
        _, states, _ = self.region_lstm(
            sample_region(features, theta, self.region_size),
            [zeros, zeros],
            training=training,
        )
        return states

    def _draw(self, rows, training):
        """Draws the random numbers of all steps: `(T, rows, 2)`, or None if none."""
        shape = [self.num_steps, rows, 2]
        if self.locations == "random":
            seed = self.seed_generator if training else self.seed
            return keras.random.uniform(shape, -1.0, 1.0, "float32", seed)
        if self.locations == "learnt" and training:
            seed = self.seed_generator
            return keras.random.normal(shape, 0.0, self.sigma, "float32", seed)
        return None

    def _mean(self, step, hidden, evidence, explained):
        """Computes the policy's mean `(rows, 2)`; None if there is no policy."""
        if not self.learns_locations:
            return None
        if self.content is None:
            return tf.tanh(self.locate(hidden, step))
        z = self.region_lstm.hidden(hidden)
        return self.content.locate(z, evidence, explained)[:, 2:]

    def _choose(self, step, mean, hidden, drawn, trains_policy):
        """Returns the next location `(rows, 2)` and what the policy is trained on."""
        if self.locations == "random":
            return drawn[step], {}
        if self.locations == "fixed":
            start = tf.gather(tf.constant(self.starts, tf.float32), step)
            return tf.tile(start[None], [tf.shape(hidden)[0], 1]), {}
        if not trains_policy:
            return tf.stop_gradient(mean), {}
        state = tf.stop_gradient(tf.cast(hidden, tf.float32))
        baseline = self.baseline(state)[:, 0]
        # Locations are constants, so that the sampler's gradient does not reach means.
        location = tf.stop_gradient(mean + drawn[step])
        return location, {"means": mean, "baselines": baseline}

    def _outputs(self, values):
        rows = tf.shape(values["locations"])[0]
        centres = tf.clip_by_value(values["locations"], -1.0, 1.0)
        theta = regions_at(centres, self.scales)  # (rows, T, k, 4)
        regions = self.num_regions
        outputs = {
            "regions": theta_to_matrix(tf.reshape(theta, [rows, regions, 4])),
        }
        for name in ("region_scores", "descriptions"):
            if name in values:
                shape = [rows, regions, values[name].shape[-1]]
                outputs[name] = tf.reshape(values[name], shape)
        if "means" in values:
            outputs["locations"] = values["locations"]
            outputs["baselines"] = values["baselines"]
            outputs["log_probabilities"] = policy_gradient.log_probability(
                values["locations"], values["means"], self.sigma
            )
        return outputs

    @property
    def num_regions(self) -> int:
        """T k, the number of all regions."""
        return self.num_steps * self.regions_a_step

    @property
    def regions_a_step(self) -> int:
        """k, the number of regions around one location."""
        return len(self.scales)

    @property
    def localization_variables(self) -> list[Any]:
        # A baseline that trains more slowly than the policy would give all locations
        # advantages of the same sign.
        baseline = self.baseline.trainable_variables if self.learns_locations else []
        return [*self.theta_variables, *baseline]

    @property
    def learns_locations(self) -> bool:
        """Whether there is a policy."""
        return self.locations == "learnt"

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_steps": self.num_steps,
            "locations": self.locations,
            "sigma": self.sigma,
            "episodes": self.episodes,
            "sides": self.sides,
            "ratios": self.ratios,
            "seed": self.seed,
        }


def _check_starts(starts, num_steps):
    if np.shape(starts) != (num_steps, 2) or np.abs(starts).max() >= 1:
        raise ValueError(
            f"`starts` does not fit the steps. Expected shape ({num_steps}, 2) and "
            f"values between -1 and 1. Received: {starts}"
        )


def _repeat(values, count):
    """Repeats each row `count` times; the gradient of `tf.repeat` fails under XLA."""
    if count == 1:
        return values
    shape = tf.concat([[-1], tf.shape(values)[1:]], 0)
    repeated = tf.reshape(tf.stack([values] * count, 1), shape)
    return tf.ensure_shape(repeated, [None, *values.shape[1:]])


def _rows_first(stacked):
    """Transposes `(T, rows, ...)` to `(rows, T, ...)`."""
    axes = list(range(len(stacked.shape)))
    return tf.transpose(stacked, [1, 0, *axes[2:]])
