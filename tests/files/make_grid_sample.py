"""Makes grid_sample.npz: values of PyTorch 2.13's affine_grid and grid_sample.

    pip install torch==2.13
    python tests/files/make_grid_sample.py tests/files/grid_sample.npz

Corners are aligned, and points outside of the map are zero.
"""

import sys

import numpy as np
import torch
from torch.nn import functional


def sampled(random):
    """Regions of maps, and the gradients of their squares' sum."""
    maps = random.normal(size=(6, 8, 11, 5)).astype("float32")
    theta = np.zeros((6, 2, 3), "float32")
    theta[:, 0, 0] = [1, 0.5, 0.25, -0.5, 1.4, 0.1]
    theta[:, 1, 1] = [1, 0.5, 0.60, 0.3, 1.2, -0.2]
    theta[:, 0, 2] = [0, 0.5, -0.5, 0.1, 0.3, 0.95]
    theta[:, 1, 2] = [0, -0.5, 0.2, 0.6, -0.4, -0.95]
    channels_first = torch.tensor(maps.transpose(0, 3, 1, 2), requires_grad=True)
    matrices = torch.tensor(theta, requires_grad=True)
    grid = functional.affine_grid(matrices, (6, 5, 7, 9), align_corners=True)
    output = functional.grid_sample(channels_first, grid, align_corners=True)
    (output**2).sum().backward()
    return {
        "maps": maps,
        "theta": theta,
        "output": output.detach().numpy().transpose(0, 2, 3, 1),
        "grad_maps": channels_first.grad.numpy().transpose(0, 2, 3, 1),
        "grad_theta": matrices.grad.numpy(),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **sampled(np.random.default_rng(7)))
