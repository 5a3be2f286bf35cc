"""From a model and a split to the table of figures that a person compares."""

import json
import math

import numpy as np
from tqdm import tqdm

from ram_tf import metrics
from ram_tf.model import crop_to_image
from ram_tf.preprocessing import evaluation_pipeline, read_files
from ram_tf.run import replacing

# What the names of the figures end in: the one without an ending is the headline.
INTERPOLATIONS = {"": "none", "_voc2010": "voc2010", "_voc2007": "voc2007"}


def predict_split(model, split, settings):
    """Runs a Keras model over a split, single view: N x N, centre crop (table 6).

    Returns:
        The model's dict as NumPy arrays, `n` rows each.
    """
    batches = evaluation_pipeline(
        split,
        settings.image_size,
        settings.crop,
        settings.batch_size,
        settings.max_pixels,
    )
    total = math.ceil(len(split) / settings.batch_size)
    bar = tqdm(batches, "evaluating", total, unit="batch", leave=False)
    return _joined(model.predict_on_batch(images) for images in bar)


def predict_split_served(predictor, split):
    """Runs a `Predictor` over a split, as `predict_split` does a Keras model."""
    size = predictor.config.batch_size
    starts = tqdm(range(0, len(split), size), "evaluating", unit="batch", leave=False)
    return _joined(
        predictor(list(read_files(split.take(range(len(split))[start : start + size]))))
        for start in starts
    )


def _joined(batches):
    batches = list(batches)
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def evaluate(outputs, split, settings, threshold=0.5, top_k=3, pooled=None):
    """Computes what `evaluate.py` reports.

    Args:
        outputs: The attention model's dict of arrays over the split.
        split: The `Split`; unknown labels are left out.
        settings: The `Config`.
        threshold: Smallest probability of a predicted label; 0.5 in section 5.2.2.
        top_k: How many labels an image is given at most; 3 there; None for any number.
        pooled: The pooled classifier's dict over the same split; None without.

    Returns:
        A dict ready for JSON, NaN as None. `mAP`, `OP` ... `CF1` and the AP by label in
        three interpolations; `mAP_min10` over labels with 10 positives or more;
        `pooled`, the same of the pooled classifier, and `above_pooled`, the paired
        bootstrap of the difference in `mAP_min10`; `region_iou`; and on data with boxes
        `pointing`, `pointing_centre` (always the centre of the image) and
        `pointing_pairs`.
    """
    result = _figures(outputs, split, threshold, top_k)
    result |= {"images": len(split), "split": split.name}
    result["protocol"] = {
        "views": 1,
        "scales": [settings.image_size],
        "crop": settings.crop,
        "threshold": threshold,
        "top_k": top_k,
        "interpolation": "none",
        "difficult": settings.difficult,
        "ranked_by": "probabilities",
    }
    result["region_iou"] = metrics.region_iou(outputs["boxes"])
    if split.boxes is not None:
        result |= _pointing(outputs, split, settings)
    result["pooled"] = pooled and _figures(pooled, split, threshold, top_k)
    if pooled:
        result["above_pooled"] = metrics.paired_bootstrap(
            split.labels, pooled["probabilities"], outputs["probabilities"]
        )
    return _without_nan(result)


def evaluate_models(model, pooled, split, settings, threshold=0.5, top_k=3):
    """Runs both models of a run over a split and evaluates them."""
    outputs = predict_split(model, split, settings)
    baseline = predict_split(pooled, split, settings)
    return evaluate(outputs, split, settings, threshold, top_k, baseline)


def evaluate_run(run, split, settings, threshold=0.5, top_k=3):
    """Evaluates the trained models of a `Run`."""
    model, pooled = run.load_model(), run.load_pooled()
    return evaluate_models(model, pooled, split, settings, threshold, top_k)


def evaluate_served(predictor, split, settings, threshold=0.5, top_k=3):
    """Evaluates a `Predictor`; a SavedModel has no pooled classifier to compare."""
    outputs = predict_split_served(predictor, split)
    return evaluate(outputs, split, settings, threshold, top_k)


def _figures(outputs, split, threshold, top_k):
    labels, probabilities = split.labels, outputs["probabilities"]
    figures = metrics.precision_recall_f1(labels, probabilities, threshold, top_k)
    for suffix, interpolation in INTERPOLATIONS.items():
        precisions = metrics.average_precision(labels, probabilities, interpolation)
        by_label = zip(split.label_names, precisions.tolist(), strict=True)
        figures[f"AP{suffix}"] = dict(by_label)
        figures[f"mAP{suffix}"] = metrics.mean_average_precision(
            labels, probabilities, interpolation
        )
        figures[f"mAP_min10{suffix}"] = metrics.mean_average_precision(
            labels, probabilities, interpolation, min_positives=10
        )
    return figures


def _pointing(outputs, split, settings):
    # As predicted: a region may lie half outside, its clipped box would be shifted.
    centres = (outputs["regions"][:, :, ::-1, 2] + 1) / 2  # (n, K, 2), y first
    centres = crop_to_image(centres, settings.crop / settings.image_size)
    known = split.boxes, split.labels, split.label_names
    score, pairs = metrics.pointing_score(*known, centres, outputs["region_scores"])
    middle = np.full((len(split), 1, 2), 0.5)
    alone = np.zeros((len(split), 1, len(split.label_names)))
    centre, _ = metrics.pointing_score(*known, middle, alone)
    return {
        "pointing": score,
        "pointing_centre": centre,
        "pointing_pairs": pairs,
    }


def _without_nan(value):
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def table(result):
    """Writes a result as the table that a person reads.

    Args:
        result: What `evaluate` returned.

    Returns:
        Lines of text: a row of AP for each label, then the means and the figures of
        Eq. 15, for the attention model and, where it was evaluated, the pooled one.
    """
    columns = {"attention": result}
    if result.get("pooled"):
        columns["pooled"] = result["pooled"]
    rows = [("", *columns)]
    rows += [
        (f"AP {label}", *(_percent(c["AP"][label]) for c in columns.values()))
        for label in result["AP"]
    ]
    means = [f"{mean}{s}" for mean in ("mAP", "mAP_min10") for s in INTERPOLATIONS]
    for name in (*means, "OP", "OR", "OF1", "CP", "CR", "CF1"):
        rows.append((name, *(_percent(c[name]) for c in columns.values())))
    for name in ("pointing", "pointing_centre", "region_iou"):
        if name in result:
            rows.append((name, _percent(result[name]), *[""] * (len(columns) - 1)))
    width = max(len(row[0]) for row in rows)
    lines = [
        row[0].ljust(width) + "".join(cell.rjust(11) for cell in row[1:])
        for row in rows
    ]
    if "above_pooled" in result and result["above_pooled"]["difference"] is not None:
        above = {k: 100 * v for k, v in result["above_pooled"].items()}
        lines.append(
            f"attention - pooled, mAP_min10: {above['difference']:+.1f} points, 95 % "
            f"interval {above['low']:+.1f} to {above['high']:+.1f} (paired bootstrap)"
        )
    return "\n".join(lines)


def _percent(value):
    return "-" if value is None else f"{100 * value:.1f}"


def write(result, path):
    """Writes a result as JSON."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(result, indent=2) + "\n")
