"""A small `ReinforcedAttention`, and its loop in NumPy."""

import numpy as np

from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
from ram_tf.models.attention.spatial_transformer import sample_region, theta_to_matrix
from ram_tf.models.choices import DESCRIPTIONS
from tests.support.numpy_reference import read_by_numpy
from tests.support.recurrent_layers import CHANNELS, LABELS, WHOLE

STEPS = 3
STARTS = [[0.0, 0.0], [0.5, -0.5], [-0.3, 0.8]]


def make_agent(randomly=True, **arguments):
    """Makes a built layer; `randomly` also randomises weights that start at 0."""
    arguments = {
        "num_steps": STEPS,
        "units": 8,
        "region_size": (4, 4),
        "region_pooling": "average",
        "layout_channels": 2,
        "sides": (0.2, 0.5),
        **arguments,
    }
    layer = ReinforcedAttention(LABELS, **arguments)
    layer.build((None, None, None, CHANNELS))
    if randomly:
        rng = np.random.default_rng(1)
        for variable in layer.trainable_variables:
            variable.assign(rng.normal(0, 0.5, variable.shape))
    return layer


def loop_by_numpy(layer, features, locations=None):
    """Runs the loop of the layer's docstring, at its means or at given locations.

    Args:
        layer: The agent.
        features: `(n, H, W, C)`.
        locations: `(n, T, 2)`; None for the means.
    """
    size, scales = layer.region_size, layer.scales
    zeros = np.zeros((len(features), layer.units))
    region = sample_region(features, [WHOLE] * len(features), size).numpy()
    _, (hidden, memory), _ = read_by_numpy(layer.region_lstm, region, [zeros, zeros])
    outputs = {"regions": [], "region_scores": [], "means": [], "baselines": []}
    outputs |= {name: [] for name in DESCRIPTIONS}
    for t in range(layer.num_steps):
        if layer.learns_locations:
            row = min(t, layer.location_bias.shape[0] - 1)
            w_loc, b_loc = (v.numpy()[row] for v in layer.theta_variables)
            mean = np.tanh(hidden @ w_loc + b_loc)
            kernel, bias = layer.baseline.get_weights()
            outputs["means"].append(mean)
            outputs["baselines"].append((hidden @ kernel + bias)[:, 0])
        location = mean if locations is None else np.clip(locations[:, t], -1, 1)
        states = []
        for s_x, s_y in scales:
            theta = [[s_x, s_y, *place] for place in location]
            theta = np.array(theta, "float32")
            region = sample_region(features, theta, size).numpy()
            scores, state, vectors = read_by_numpy(
                layer.region_lstm, region, [hidden, memory]
            )
            states.append(state)
            outputs["regions"].append(theta_to_matrix(theta))
            outputs["region_scores"].append(scores)
            for name in DESCRIPTIONS:
                outputs[name].append(vectors[name])
        hidden, memory = np.mean(states, 0)
    return {name: np.stack(v, 1) for name, v in outputs.items() if v}
