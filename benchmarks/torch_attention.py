"""The recurrent module of RDAR in PyTorch, written for comparison.

It computes what a `RecurrentMemorizedAttention` with localization "linear" does, with
PyTorch's own means: `grid_sample` samples the regions, and a Python loop runs over
them.
"""

import torch
from torch.nn import functional

WHOLE_MAP = (1.0, 1.0, 0.0, 0.0)


class TorchAttention(torch.nn.Module):
    """Scores K regions of a feature map one after another (Eq. 1-5).

    `torch.nn.LSTMCell` cannot be used, because Eq. 4 has no tanh on the memory cell.

    Args:
        attention: A built `RecurrentMemorizedAttention` with localization "linear",
            region pooling "average" or "flatten", and no layout channels. Its weights
            are copied.

    Call arguments:
        maps: `(B, C, H, W)` float32.

    Returns:
        `(B, K, L)` scores and `(B, K, 4)` theta.
    """

    def __init__(self, attention):
        super().__init__()
        self.num_regions = attention.num_regions
        self.region_size = attention.region_size
        self.flattens = attention.region_pooling == "flatten"
        lstm = attention.region_lstm
        self.w_fx, self.b_fx = _weights(lstm.feature)
        self.w_x, self.w_h, self.b = _weights(lstm.cell)
        self.w_hz, self.b_hz = _weights(lstm.hidden)
        self.w_zs, self.b_zs = _weights(lstm.classifier)
        self.w_zm = torch.tensor(attention.location_kernel.numpy())
        self.b_m = torch.tensor(attention.location_bias.numpy())

    def forward(self, maps):
        height, width = maps.shape[2:]
        # `grid_sample` has zeros beyond the border; ours has one repeated cell first.
        padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
        shrink = maps.new_tensor([width / (width + 2), height / (height + 2)])
        places = [_centres(size) for size in reversed(self.region_size)]
        theta = maps.new_tensor(WHOLE_MAP).expand(len(maps), 4)
        hidden = memory = maps.new_zeros(len(maps), self.w_h.shape[0])
        scores, regions = [], []
        for k in range(self.num_regions + 1):
            x, y = (
                theta[:, axis, None] * places[axis] + theta[:, axis + 2, None]
                for axis in (0, 1)
            )
            grid = torch.stack(
                [
                    x[:, None].expand(-1, y.shape[1], -1),
                    y[:, :, None].expand(-1, -1, x.shape[1]),
                ],
                -1,
            )
            region = functional.grid_sample(padded, grid * shrink, align_corners=False)
            x = torch.relu(self._pool(region) @ self.w_fx + self.b_fx)
            gates = x @ self.w_x + hidden @ self.w_h + self.b
            i, f, g, o = gates.chunk(4, -1)
            memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * memory
            z = torch.relu(hidden @ self.w_hz + self.b_hz)
            if k > 0:
                scores.append(z @ self.w_zs + self.b_zs)
            if k < self.num_regions:
                row = min(k, len(self.b_m) - 1)
                theta = z @ self.w_zm[row] + self.b_m[row]
                regions.append(theta)
        return torch.stack(scores, 1), torch.stack(regions, 1)

    def _pool(self, region):
        if not self.flattens:
            return region.mean((2, 3))
        # In Keras' order: the channels of a cell lie side by side.
        pooled = functional.max_pool2d(region, 2)
        return pooled.permute(0, 2, 3, 1).flatten(1)


def _weights(layer):
    return [torch.tensor(weight) for weight in layer.get_weights()]


def _centres(count):
    """The centres of `count` equal parts of [-1, 1]."""
    return (2 * torch.arange(count) + 1) / count - 1
