"""Runs with random weights, and how tests evaluate them."""

import numpy as np

from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.evaluation import infer_split
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.metrics import multi_label
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run

FIVE = ViewSettings(count=5, source="features", svm=True, feature="z")


def start_run(folder, squares, seed, **changes):
    """Returns a run like one of fit.py, with random weights instead of training."""
    settings = Config.of(
        dataset="csv",
        data_dir=str(squares),
        backbone="small",
        weights="none",
        crop_margin=8,
        regions=2,
        region_size=4,
        units=16,
        starts="anchors",
        **{"image_size": 40, "loss": "bce", "region_pooling": "max", **changes},
    )
    run = Run.start(folder, settings, ("blue", "green", "red"))
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    model = run_models.build_attention(run, pooled)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    model.save_weights(run.model_weights)
    return run


def evaluate(runs, split, views, **named):
    return infer_split.evaluate_runs(runs, split, runs[0].config, views, **named)


def run_eagerly(view, split):
    """Runs a view on a whole split at once, without a graph."""
    (images,) = evaluation_pipeline(split, view.sizes, view.crops, len(split))
    return {name: value.numpy() for name, value in view(images).items()}


def precisions(split, outputs):
    """Returns the AP by label name of a dict of arrays."""
    found = multi_label.average_precision(split.labels, outputs["probabilities"])
    return dict(zip(split.label_names, found, strict=True))
