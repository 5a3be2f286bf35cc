"""Multi-label image recognition that shows which region spoke for each label.

The way of the data: files (`datasets`) -> pipeline (`header`, `exif`, `decoding`,
`colour_jitter`, `preprocessing`) -> feature map (`backbones`) -> region after region
(`spatial_transformer`, `region_lstm`, `content_localization`; found by
`recurrent_attention` or by the agent of `reinforced_attention`) -> scores and regions
(`model`, in one view or several: `views`) -> `losses`, `reinforce`, `evidence`,
`metrics`, `region_metrics`, `label_pairs`, `reliability` -> the two steps, of which the
first begins as a linear probe (`linear_probe`;
`training`, on one of the `devices` or several) -> figures (`calibration`, `svm`,
`evaluation`, `results`, `report`; of several seeds: `seeds`; the papers' tables:
`references`, `ablation`) and a SavedModel (`export`) or other formats (`onnx_model`,
`litert_model`) -> asked alike wherever it lies (`predictor`): for files (`prediction`),
for any number of images (`batch`, `beam_pipeline`), on a page to look at (`web_page`).
What belongs together lies in the folder of a `run`, whose settings (`config`, `ranges`;
read by `config_json`) say which models to `build`. Files are whole or not there
(`seal`, `lock`).

Shapes, everywhere: `B` images, `H W C` feature map, `K` regions, `h w` sampled size,
`L` labels.
"""

import importlib

__version__ = "0.2.0"

# Where each public name lives; loaded when asked for, since TensorFlow takes seconds.
_HOMES = {
    "Config": "config",
    "Predictor": "predictor",
    "RARL": "model",
    "RDAR": "model",
    "RecurrentMemorizedAttention": "recurrent_attention",
    "ReinforcedAttention": "reinforced_attention",
    "Run": "run",
    "SpatialTransformer": "spatial_transformer",
    "Split": "split",
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


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'ram_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ram_tf.{_HOMES[name]}"), name)
