"""Metrics of a model's outputs on a split, and the text table that shows them."""

import dataclasses
import json
import math

import numpy as np

from ram_tf.metrics import (
    bootstrap,
    multi_label,
    protocols,
    region_metrics,
    reliability,
)
from ram_tf.metrics.protocols import PAPER
from ram_tf.models.networks import crop_to_image
from ram_tf.storage.atomic_files import atomic_write

INTERPOLATIONS = ("none", "voc2010", "voc2007")
METRIC_PREFIXES = ("mAP", "OP", "OR", "OF1", "CP", "CR", "CF1")
REGION_METRICS = (
    "pointing",
    "pointing_evidence",
    "pointing_centre",
    "pointing_shuffled",
    "region_spread",
    "region_iou",
)


def evaluate(outputs, split, settings, protocol=PAPER, about=None, **others):
    """Computes the metrics that `evaluate.py` reports.

    Args:
        outputs: The dict of arrays of the attention model on the split.
        split: The `Split`; unknown labels are ignored.
        settings: The `Config`.
        protocol: A `Protocol`.
        about: `MultiView.about` of the view that computed the outputs; None for the
            plain centre view.
        **others: Outputs of the models that it is compared with on the same split, a
            dict of arrays each; `pooled` is the pooled classifier.

    Returns:
        A dict ready for JSON, NaN as None: the `classification_metrics`; the protocol's
        `warnings`; `intervals`, 95 % bootstrap intervals of the metrics that the
        protocol counts as the bootstrap does; for each of `others` the same metrics
        under its name, and under `above_<name>` the paired bootstrap of the difference
        in `mAP_min10`; the `evaluate_regions`; `calibration_error`; and
        `at_thresholds`, OP to CF1 with the fitted threshold of each label.
    """
    about = about or {
        "views": 1,
        "views_from": "image",
        "scales": [settings.image.image_size],
        "crops": [settings.image.crop],
    }
    labels, probabilities = split.labels, outputs["probabilities"]
    result = classification_metrics(labels, outputs, split.label_names, protocol)
    result |= {"images": len(split), "split": split.name}
    result["protocol"] = {
        **dataclasses.asdict(protocol),
        **about,
        "difficult": settings.data.difficult,
        "ranked_by": "probabilities",
    }
    result["warnings"] = protocols.warnings_for(
        labels, probabilities, split.label_names, protocol
    )
    result["intervals"] = _intervals(labels, probabilities, protocol)
    result["calibration_error"] = reliability.calibration_error(labels, probabilities)
    if "thresholds" in about:
        result["at_thresholds"] = multi_label.precision_recall_f1(
            labels, probabilities, about["thresholds"]
        )
    result |= evaluate_regions(outputs, split, about, others.get("pooled"))
    result["pooled"] = None
    for name, other in others.items():
        result[name] = classification_metrics(
            labels, other, split.label_names, protocol
        )
        result[f"above_{name}"] = bootstrap.paired_difference(
            labels, other["probabilities"], probabilities
        )
    return _without_nan(result)


def evaluate_pooled(outputs, split):
    """Computes the metrics of step 1 alone.

    Args:
        outputs: The outputs of `infer_split.infer_pooled` on the split.
        split: The `Split`.

    Returns:
        A dict ready for JSON, NaN as None: `images`, `split` and `pooled` as in
        `evaluate`, and on data with boxes `pointing_evidence` and `pointing_centre`.
    """
    result = {"images": len(split), "split": split.name}
    result["pooled"] = classification_metrics(split.labels, outputs, split.label_names)
    return _without_nan(result | _pointing_baselines(split, outputs.get("evidence")))


def _intervals(labels, probabilities, protocol):
    """Returns the bootstrap intervals of metrics that the protocol counts alike."""
    found = bootstrap.intervals(
        labels, probabilities, protocol.threshold, protocol.top_k[0]
    )
    # The fields that OF1 does not depend on, or that the bootstrap receives.
    free = "name source threshold top_k interpolation ap_epsilon".split()
    like_paper = {name: getattr(PAPER, name) for name in free}
    if dataclasses.replace(protocol, **like_paper) != PAPER:
        del found["OF1"]
    if protocol.interpolation != "none" or protocol.ap_epsilon:
        del found["mAP"]
    return found


def classification_metrics(labels, outputs, label_names, protocol=PAPER):
    """Computes the metrics of any classifier, with or without regions.

    Args:
        labels: `(n, L)`; unknown ones are ignored.
        outputs: A dict with its `probabilities` `(n, L)`.
        label_names: The L labels.
        protocol: A `Protocol`.

    Returns:
        A dict of `mAP`, `AP` by label and `OP` ... `CF1` as the protocol counts them;
        `mAP_<interpolation>` for all three; and `mAP_min10`, without interpolation,
        over labels with at least 10 positives.
    """
    probabilities = outputs["probabilities"]
    found = protocols.compute_metrics(labels, probabilities, protocol)
    by_label = zip(label_names, found["AP"].tolist(), strict=True)
    found["AP"] = dict(by_label)
    for interpolation in INTERPOLATIONS:
        found[f"mAP_{interpolation}"] = multi_label.mean_average_precision(
            labels, probabilities, interpolation
        )
    found["mAP_min10"] = multi_label.mean_average_precision(
        labels, probabilities, min_positives=10
    )
    return found


def evaluate_regions(outputs, split, about, pooled=None):
    """Computes the metrics of regions.

    Args:
        outputs: See `evaluate`; the regions are those of the (first) centre view.
        split: The `Split`.
        about: `MultiView.about` of the view that computed the outputs.
        pooled: The outputs of `infer_split.infer_pooled` on the split, or None.

    Returns:
        A dict of shares, NaN if there is nothing to count: `region_iou` and
        `region_spread` (of the image's edge); on data with boxes also `pointing`, its
        number of pairs `pointing_pairs`, and its baselines `pointing_centre` (the
        centre of the image), `pointing_shuffled` (each region at its place on another
        image) and `pointing_evidence` (the evidence map of step 1's classifier, see
        `evidence_map`; NaN without a pooled classifier, if that is not linear or
        flattens, and for several models, which share none).
    """
    centres = region_centres(outputs, about)
    found = {
        "region_spread": region_metrics.region_spread(centres),
        "region_iou": region_metrics.region_iou(outputs["boxes"]),
    }
    if split.boxes is None:
        return found
    truth = split.boxes, split.labels, split.label_names
    regions = centres, outputs["region_scores"]
    found["pointing"], pairs = region_metrics.pointing_score(*truth, *regions)
    found["pointing_pairs"] = pairs
    shuffled = region_metrics.shuffled_pointing_score(*truth, *regions)
    found["pointing_shuffled"] = shuffled
    single = pooled and about.get("models", 1) == 1
    evidence = pooled.get("evidence") if single else None
    return found | _pointing_baselines(split, evidence)


def _pointing_baselines(split, evidence):
    """Computes the baselines of pointing that need no regions; {} without boxes."""
    if split.boxes is None:
        return {}
    truth = split.boxes, split.labels, split.label_names
    middle = np.full((*split.labels.shape, 2), 0.5)
    centre, _ = region_metrics.hit_rate(*truth, middle)
    rate = math.nan
    if evidence is not None:
        rate, _ = region_metrics.hit_rate(*truth, evidence)
    return {"pointing_evidence": rate, "pointing_centre": centre}


def region_centres(outputs, about):
    """Returns the centres of regions, `(n, K, 2)` `y, x`, as predicted.

    They are fractions of the original image, not clipped to it: a region may lie partly
    outside.

    Args:
        outputs: See `evaluate`.
        about: See `evaluate_regions`.
    """
    centres = (outputs["regions"][:, :, ::-1, 2] + 1) / 2  # (n, K, 2), y first
    return crop_to_image(centres, about["crops"][0] / about["scales"][0])


def _without_nan(value):
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def columns(result):
    """Returns the metrics of the model and of those it was compared with, by name.

    The model itself is first: "svm" if SVMs are compared with the attention model whose
    descriptions they score, else "attention".

    Args:
        result: The result of `evaluate`.
    """
    compared = [
        name.removeprefix("above_") for name in result if name.startswith("above_")
    ]
    own = "svm" if "attention" in compared else "attention"
    return {own: result} | {name: result[name] for name in compared}


def table(result):
    """Formats a result as a text table.

    Args:
        result: The result of `evaluate`.

    Returns:
        Lines of text, metrics in percent: the split and the protocol; for the model and
        those it was compared with, AP of each label, the means, and the metrics of
        Eq. 15; the metrics of regions; the intervals; and the warnings.
    """
    models = columns(result)
    own, *compared = models
    rows = [("", *models)]
    rows += [
        (f"AP {label}", *(_percent(m["AP"][label]) for m in models.values()))
        for label in result["AP"]
    ]
    rows += [
        (name, *(_percent(m[name]) for m in models.values()))
        for name in result
        if name.startswith(METRIC_PREFIXES)
    ]
    for name in ("calibration_error", *REGION_METRICS):
        if name in result:
            rows.append((name, _percent(result[name]), *[""] * len(compared)))
    if "at_thresholds" in result:
        for name, value in result["at_thresholds"].items():
            row = f"{name} at fitted thresholds", _percent(value)
            rows.append((*row, *[""] * len(compared)))
    width = max(len(row[0]) for row in rows)
    lines = [_heading(result)]
    lines += [
        row[0].ljust(width) + "".join(cell.rjust(12) for cell in row[1:])
        for row in rows
    ]
    lines += [
        f"{name}: {_percent(result[name])}, 95 % interval {_percent(i['low'])} to "
        f"{_percent(i['high'])} (bootstrap over images)"
        for name, i in result["intervals"].items()
        if i["low"] is not None
    ]
    for name in compared:
        above = result[f"above_{name}"]
        if above["difference"] is not None:
            difference, low, high = (
                f"{100 * above[key]:+.1f}" for key in ("difference", "low", "high")
            )
            lines.append(
                f"{own} - {name}, mAP_min10: {difference} points, 95 % interval {low} "
                f"to {high} (paired bootstrap)"
            )
    return "\n".join([*lines, *result["warnings"]])


def table_of_pooled(result):
    """Formats the result of `evaluate_pooled` as a text table."""
    shown = {n: v for n, v in result["pooled"].items() if n.startswith(METRIC_PREFIXES)}
    shown |= {name: result[name] for name in REGION_METRICS if name in result}
    width = max(map(len, shown))
    lines = [f"{result['split']}, {result['images']} images; step 1 alone"]
    lines += [f"{n.ljust(width)}{_percent(v).rjust(12)}" for n, v in shown.items()]
    return "\n".join(lines)


def _heading(result):
    how = result["protocol"]
    noun = "view" if how["views"] == 1 else "views"
    views = f"{how['views']} {noun} from {how['views_from']}"
    return (
        f"{result['split']}, {result['images']} images; protocol {how['name']}, AP "
        f"interpolation {how['interpolation']}; {views}, N = "
        f"{', '.join(map(str, how['scales']))}; difficult: {how['difficult']}"
    )


def _percent(value):
    return "\N{EN DASH}" if value is None else f"{100 * value:.1f}"


def write(result, path):
    """Writes a result as JSON, with null for NaN."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(_without_nan(result), indent=2) + "\n")
