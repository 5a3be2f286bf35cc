"""Multi-label image recognition that shows the region which predicts each label.

The way of the data, one folder after another; each imports only from those before it:
`storage` -> `data` -> `models` -> `metrics` -> `runs` -> `training` -> `serving` ->
`evaluation` -> `cli`. `docs/architecture.md` draws it and says where to put what.

Shapes, everywhere: `B` images, `H W C` feature map, `K` regions, `h w` sampled size,
`L` labels.
"""

import importlib
import os
import typing

if typing.TYPE_CHECKING:
    # For tools that read the code; `__getattr__` below loads the same names.
    from ram_tf.data.split import Split
    from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
    from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
    from ram_tf.models.attention.spatial_transformer import SpatialTransformer
    from ram_tf.models.networks import RARL, RDAR
    from ram_tf.runs.config import Config
    from ram_tf.runs.run import Run
    from ram_tf.serving.predictor import Predictor

__version__ = "0.2.0"

# TensorFlow uses oneDNN's kernels by itself only on CPUs with AVX-512. Convolutions
# take up to half the time with them on AVX2, too (docs/speed.md). TensorFlow reads this
# when it is imported; a value that the user has set stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Where each public name lives; loaded when asked for, since TensorFlow takes seconds.
_HOMES = {
    "Config": "runs.config",
    "Predictor": "serving.predictor",
    "RARL": "models.networks",
    "RDAR": "models.networks",
    "RecurrentMemorizedAttention": "models.attention.recurrent_attention",
    "ReinforcedAttention": "models.attention.reinforced_attention",
    "Run": "runs.run",
    "SpatialTransformer": "models.attention.spatial_transformer",
    "Split": "data.split",
}
__all__ = [
    "RARL",
    "RDAR",
    "Config",
    "Predictor",
    "RecurrentMemorizedAttention",
    "ReinforcedAttention",
    "Run",
    "SpatialTransformer",
    "Split",
]


def __getattr__(name: str) -> typing.Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ram_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ram_tf.{_HOMES[name]}"), name)
