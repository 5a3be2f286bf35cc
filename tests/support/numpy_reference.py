"""A NumPy implementation of Eq. 2-5, with which the layers are compared."""

import numpy as np
from scipy import ndimage

from ram_tf.models.attention.region_lstm import pool_region


def sample_by_numpy(maps, theta, size):
    """Computes `sample_region` for one region per map with SciPy's interpolation.

    Args:
        maps: `(B, H, W, C)` array.
        theta: `(B, 4)` array.
        size: `(h, w)`.

    Returns:
        `(B, h, w, C)` float64.
    """
    regions = []
    for image, (s_x, s_y, t_x, t_y) in zip(maps, np.float64(theta), strict=True):
        padded = np.pad(np.float64(image), ((1, 1), (1, 1), (0, 0)), mode="edge")
        axes = zip(((t_y, s_y), (t_x, s_x)), size, image.shape, strict=False)
        places = []
        for (middle, half), samples, cells in axes:
            parts = np.linspace(middle - half, middle + half, samples + 1)
            from_border = ((parts[:-1] + parts[1:]) / 2 + 1) / 2 * cells
            # The first cell's centre is half a cell from the border, and 1 in `padded`.
            places.append(from_border - 0.5 + 1)
        grid = np.meshgrid(*places, indexing="ij")
        channels = [
            ndimage.map_coordinates(channel, grid, order=1, mode="grid-constant")
            for channel in np.moveaxis(padded, -1, 0)
        ]
        regions.append(np.stack(channels, -1))
    return np.stack(regions)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def cell_by_numpy(weights, x, hidden, memory):
    """Computes Eq. 4 as printed; `weights` has Keras' order of gates: i, g, m, o."""
    kernel, recurrent, bias = (np.split(w, 4, -1) for w in weights)
    i, g, m, o = (
        x @ kernel[n] + hidden @ recurrent[n] + bias[n] for n in range(4)
    )  # before their activations
    memory = sigmoid(g) * memory + sigmoid(i) * np.tanh(m)
    return sigmoid(o) * memory, memory


def read_by_numpy(layer, region, states):
    """Computes the outputs of a `RegionLSTM`, except for pooling, as NumPy arrays.

    Args:
        layer: The `RegionLSTM`, whose weights are used.
        region: `(B, h, w, C)` array.
        states: The pair of `(B, units)` arrays.
    """
    (w_fx, b_fx), (w_hz, b_hz), (w_zs, b_zs) = (
        dense.get_weights() for dense in (layer.feature, layer.hidden, layer.classifier)
    )
    inputs = pooled = pool_region(region, layer.region_pooling).numpy()
    if layer.layout:
        kernel, bias = layer.layout.get_weights()
        cells = (region @ kernel[0, 0] + bias).astype("float32")
        inputs = np.concatenate([pooled, pool_region(cells, "flatten")], -1)
    x = relu(inputs @ w_fx + b_fx)
    states = cell_by_numpy(layer.cell.get_weights(), x, *states)
    z = relu(states[0] @ w_hz + b_hz)
    return z @ w_zs + b_zs, states, {"pooled": pooled, "x": x, "z": z}
