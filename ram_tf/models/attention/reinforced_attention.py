"""Look, score, choose where to look next: the agent of RARL.

What the paper says, what is remembered of it and what is ours: docs/rarl.md.
"""

import keras
import numpy as np
import tensorflow as tf

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
    """Looks at k regions around one location after another and scores each of them.

    Written as plain Python, the loop is::

        state = region_lstm(whole_map, zeros)                # only to choose l_1
        for t in range(T):
            mean = tanh(W_loc(state.hidden) + b_loc)         # f_loc; or by content
            location = mean + sigma * normal() if training else mean
            seen = [region_lstm(region, state) for region in regions_at(location)]
            region_scores += [scores for scores, _ in seen]
            state = average(states of seen)

    The graph runs it as a `tf.while_loop` with a static maximum of iterations, as XLA
    needs it. In training every image has `episodes` of its own; they share the feature
    map and the look at the whole image, so that neither is computed again.

    No gradient reaches a location through the sampler. What moves locations is
    `log_probabilities`, whose gradient goes through the means into `W_loc` (by content:
    into the weights of the `ContentLocalization`) and on through the states into the
    LSTM and the features. `baselines` are read off the
    states as constants: their loss reaches the layer `baseline` alone (ours).

    Args:
        num_labels: L.
        num_steps: T, 1 or more.
        units: Width of the LSTM and of the layers around it.
        region_size: `(h, w)` that regions are sampled to.
        region_pooling: How a sampled region becomes a vector, see `pool_region`.
        layout_channels: See `RegionLSTM`.
        starts: `(T, 2)` `t_x, t_y` in (-1, 1) that the means start at, each step with a
            `W_loc` and `b_loc` of its own (ours), or where "fixed" locations are. None
            for shared ones that start in the middle.
        dropout: Share of a region's features set to zero in training.
        localization: "linear", `f_loc` above, or "content" (ours): the policy's mean is
            where a `ContentLocalization` would look next.
        start_scale: See `ContentLocalization`; of the part of the map that a location
            explains.
        locations: "learnt", by the policy; "random", uniform in [-1, 1], drawn anew for
            each step; "fixed", at `starts`. The last two have no policy to learn.
        sigma: Standard deviation of the policy in training, more than 0.
        episodes: M, sampled for each image in training, 1 or more; fixed locations
            leave nothing to sample, and have one.
        sides: See `region_scales`.
        ratios: See `region_scales`.
        seed: Of what is drawn in training; random locations at inference are drawn
            from it alone, so that the same batch gets the same ones.

    Call arguments:
        features: `(B, H, W, C)` feature map `f_I`; H and W may be unknown.
        training: Whether dropout acts and locations are sampled.
        describe: See `RecurrentMemorizedAttention`.

    Returns:
        The dict of `RecurrentMemorizedAttention`, with K = T k regions, those of a step
        together. In training it has B M rows, the episodes of an image one after
        another, and where locations are learnt also `locations` `(B M, T, 2)` as they
        were sampled (they are clipped to [-1, 1] to look there), their
        `log_probabilities` `(B M, T)` and the expected rewards `baselines` `(B M, T)`.

    Reference:
        Chen et al., Recurrent Attentional Reinforcement Learning for Multi-label Image
        Recognition, AAAI 2018; the policy as in Mnih et al., Recurrent Models of Visual
        Attention, 2014.
    """

    given_regions = False

    def __init__(
        self,
        num_labels,
        num_steps=5,
        units=4096,
        region_size=(14, 14),
        region_pooling="flatten",
        layout_channels=0,
        starts=None,
        dropout=0.0,
        localization="linear",
        start_scale=0.25,
        locations="learnt",
        sigma=0.2,
        episodes=1,
        sides=SIDES,
        ratios=RATIOS,
        seed=0,
        **kwargs,
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
                f"Unknown origin of locations. Expected one of: {', '.join(LOCATIONS)}."
                f" Received: locations={locations!r}"
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
        # Halfway between no reward and all of it.
        self.baseline = self.learns_locations and keras.layers.Dense(
            1,
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(0.5),
            dtype="float32",
            name="baseline",
        )

    def build(self, features_shape):
        super().build(features_shape)
        if not self.learns_locations:
            return
        self.baseline.build((None, self.units))
        if self.localization == "content":
            self.add_content(features_shape, resizes=False)
            return
        starts = np.zeros((1, 2)) if self.starts is None else np.array(self.starts)
        self.add_location_weights("W_loc", "b_loc", np.arctanh(starts))

    def call(self, features, training=False, describe=None):
        features = tf.cast(features, self.compute_dtype)
        samples = training and self.locations != "fixed"
        episodes = self.episodes if samples else 1
        hidden, memory = (
            _repeat(state, episodes)
            for state in self._look_at_whole(features, training)
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
        learns = training and self.learns_locations
        shapes = {"locations": [2], "region_scores": [count, self.num_labels]}
        if learns:
            shapes |= {"means": [2], "baselines": []}
        if describe:
            shapes["descriptions"] = [count, self.region_lstm.width_of(describe)]
        known = hidden.shape[0]  # LiteRT's arrays need it where it is known
        arrays = {
            name: tf.TensorArray(tf.float32, steps, element_shape=[known, *shape])
            for name, shape in shapes.items()
        }

        def look(step, hidden, memory, explained, arrays):
            mean = self._mean(step, hidden, evidence, explained)
            location, seen = self._choose(step, mean, hidden, drawn, learns)
            looked = tf.clip_by_value(location, -1.0, 1.0)
            if self.content is not None:
                scale = tf.fill(tf.shape(looked), self.start_scale)
                own = tf.concat([scale, looked], -1)
                explained = self.content.explain(own, evidence, explained)
            theta = regions_at(looked, self.scales)
            # The episodes of an image are sampled from its one map.
            theta = tf.reshape(theta, [-1, episodes * count, 4])
            regions = sample_region(features, theta, self.region_size)
            regions = tf.reshape(regions, [-1, *regions.shape[2:]])
            states = [_repeat(state, count) for state in (hidden, memory)]
            scores, states, vectors = self.region_lstm(
                regions, states, training=training
            )
            seen |= {"locations": location, "region_scores": scores}
            if describe:
                seen["descriptions"] = tf.cast(vectors[describe], tf.float32)
            arrays = {
                name: array.write(step, tf.reshape(seen[name], [-1, *shapes[name]]))
                for name, array in arrays.items()
            }
            hidden, memory = (
                tf.reduce_mean(tf.reshape(state, [-1, count, self.units]), 1)
                for state in states
            )
            return step + 1, hidden, memory, explained, arrays

        *_, arrays = tf.while_loop(
            lambda step, *_: step < steps,
            look,
            (tf.constant(0), hidden, memory, explained, arrays),
            maximum_iterations=steps,
        )
        found = {name: _rows_first(array.stack()) for name, array in arrays.items()}
        return self._outputs(found)

    def _look_at_whole(self, features, training):
        """The state before the first step, after a look at the whole map: l_1's."""
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
        """All that an episode draws: `(T, rows, 2)`, or None where nothing is."""
        shape = [self.num_steps, rows, 2]
        if self.locations == "random":
            seed = self.seed_generator if training else self.seed
            return keras.random.uniform(shape, -1.0, 1.0, "float32", seed)
        if self.locations == "learnt" and training:
            seed = self.seed_generator
            return keras.random.normal(shape, 0.0, self.sigma, "float32", seed)
        return None

    def _mean(self, step, hidden, evidence, explained):
        """The policy's mean `(rows, 2)`; None where there is no policy."""
        if not self.learns_locations:
            return None
        if self.content is None:
            return tf.tanh(self.locate(hidden, step))
        z = self.region_lstm.hidden(hidden)
        return self.content.locate(z, evidence, explained)[:, 2:]

    def _choose(self, step, mean, hidden, drawn, learns):
        """The next location `(rows, 2)`, and what is to be learnt of the choice."""
        if self.locations == "random":
            return drawn[step], {}
        if self.locations == "fixed":
            place = tf.gather(tf.constant(self.starts, tf.float32), step)
            return tf.tile(place[None], [tf.shape(hidden)[0], 1]), {}
        if not learns:
            return tf.stop_gradient(mean), {}
        state = tf.stop_gradient(tf.cast(hidden, tf.float32))
        expected = self.baseline(state)[:, 0]
        # The sampler has a gradient to where it samples, which is not to move the mean:
        # locations are constants from here on.
        location = tf.stop_gradient(mean + drawn[step])
        return location, {"means": mean, "baselines": expected}

    def _outputs(self, found):
        rows = tf.shape(found["locations"])[0]
        looked = tf.clip_by_value(found["locations"], -1.0, 1.0)
        theta = regions_at(looked, self.scales)  # (rows, T, k, 4)
        regions = self.num_regions
        outputs = {
            "regions": theta_to_matrix(tf.reshape(theta, [rows, regions, 4])),
        }
        for name in ("region_scores", "descriptions"):
            if name in found:
                shape = [rows, regions, found[name].shape[-1]]
                outputs[name] = tf.reshape(found[name], shape)
        if "means" in found:
            outputs["locations"] = found["locations"]
            outputs["baselines"] = found["baselines"]
            outputs["log_probabilities"] = policy_gradient.log_probability(
                found["locations"], found["means"], self.sigma
            )
        return outputs

    @property
    def num_regions(self):
        """T k, all regions together."""
        return self.num_steps * self.regions_a_step

    @property
    def regions_a_step(self):
        """k, the regions around one location."""
        return len(self.scales)

    @property
    def localization_variables(self):
        # A baseline that learns more slowly than the policy would call all of its
        # locations good, or all bad.
        learnt = self.baseline.trainable_variables if self.learns_locations else []
        return [*self.theta_variables, *learnt]

    @property
    def learns_locations(self):
        """Whether there is a policy."""
        return self.locations == "learnt"

    def get_config(self):
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
    """Each row `count` times; the gradient of `tf.repeat` fails under XLA."""
    if count == 1:
        return values
    shape = tf.concat([[-1], tf.shape(values)[1:]], 0)
    repeated = tf.reshape(tf.stack([values] * count, 1), shape)
    return tf.ensure_shape(repeated, [None, *values.shape[1:]])


def _rows_first(stacked):
    """`(T, rows, ...)` to `(rows, T, ...)`."""
    axes = list(range(len(stacked.shape)))
    return tf.transpose(stacked, [1, 0, *axes[2:]])
