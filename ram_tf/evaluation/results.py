"""From what models say of a split to the table of figures that a person compares."""

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
from ram_tf.models.networks import crop_to_image
from ram_tf.storage.atomic_files import atomic_write

PAPER = protocols.PROTOCOLS["rdar"]
INTERPOLATIONS = ("none", "voc2010", "voc2007")
FIGURES = ("mAP", "OP", "OR", "OF1", "CP", "CR", "CF1")  # beginnings of their names
OF_REGIONS = (
    "pointing",
    "pointing_evidence",
    "pointing_centre",
    "pointing_shuffled",
    "region_spread",
    "region_iou",
)


def evaluate(outputs, split, settings, protocol=PAPER, about=None, **others):
    """Computes what `evaluate.py` reports.

    Args:
        outputs: The attention model's dict of arrays over the split.
        split: The `Split`; unknown labels are left out.
        settings: The `Config`.
        protocol: A `Protocol`.
        about: `MultiView.about` of the view that gave the outputs; None for the plain
            centre view.
        **others: What the model is compared with over the same split, a dict of arrays
            each; `pooled` is the pooled classifier.

    Returns:
        A dict ready for JSON, NaN as None. `mAP`, `AP`, `OP` ... `CF1` as the protocol
        has them, and its `warnings`; `mAP_<interpolation>` in all three; `mAP_min10`
        over labels with 10 positives or more, without interpolation; `intervals`, 95 %
        bootstrap intervals of those figures that the protocol counts as the bootstrap
        does; for each of `others` the same figures under its name, and
        under `above_<name>` the paired bootstrap of the difference in `mAP_min10`;
        what `region_figures` returns; `calibration_error`, and `at_thresholds`, OP to
        CF1 where each label has its fitted threshold.
    """
    about = about or {
        "views": 1,
        "views_from": "image",
        "scales": [settings.image.image_size],
        "crops": [settings.image.crop],
    }
    labels, probabilities = split.labels, outputs["probabilities"]
    result = figures(labels, outputs, split.label_names, protocol)
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
    result |= region_figures(outputs, split, about, others.get("pooled"))
    result["pooled"] = None
    for name, other in others.items():
        result[name] = figures(labels, other, split.label_names, protocol)
        result[f"above_{name}"] = bootstrap.paired_difference(
            labels, other["probabilities"], probabilities
        )
    return _without_nan(result)


def evaluate_pooled(outputs, split):
    """Computes what is known of step 1 by itself.

    Args:
        outputs: What `evaluation.infer_pooled` says of the split.
        split: The `Split`.

    Returns:
        A dict ready for JSON, NaN as None: `images`, `split`, `pooled` as `evaluate`
        has it, and on data with boxes `pointing_evidence` and `pointing_centre`.
    """
    result = {"images": len(split), "split": split.name}
    result["pooled"] = figures(split.labels, outputs, split.label_names)
    return _without_nan(result | _compared_pointing(split, outputs.get("evidence")))


def _intervals(labels, probabilities, protocol):
    """Those of the bootstrap's figures that the protocol counts as it does."""
    found = bootstrap.intervals(
        labels, probabilities, protocol.threshold, protocol.top_k[0]
    )
    # What OF1 does not depend on, or the bootstrap is told.
    free = "name source threshold top_k interpolation ap_epsilon".split()
    like_paper = {name: getattr(PAPER, name) for name in free}
    if dataclasses.replace(protocol, **like_paper) != PAPER:
        del found["OF1"]
    if protocol.interpolation != "none" or protocol.ap_epsilon:
        del found["mAP"]
    return found


def figures(labels, outputs, label_names, protocol=PAPER):
    """The figures of any classifier, with regions or without.

    Args:
        labels: `(n, L)`; unknown ones are left out.
        outputs: A dict with its `probabilities` `(n, L)`.
        label_names: The L labels.
        protocol: A `Protocol`.

    Returns:
        A dict of `mAP`, `AP` by label and `OP` ... `CF1` as the protocol has them,
        `mAP_<interpolation>`, and `mAP_min10` without interpolation, as the bootstrap
        has it.
    """
    probabilities = outputs["probabilities"]
    found = protocols.figures(labels, probabilities, protocol)
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


def region_figures(outputs, split, about, pooled=None):
    """What regions are judged by.

    Args:
        outputs: See `evaluate`; the regions are those of the (first) centre view.
        split: The `Split`.
        about: `MultiView.about` of the view that gave the outputs.
        pooled: What `evaluation.infer_pooled` says of the split; None for unknown.

    Returns:
        A dict of shares, NaN where there is nothing to count: `region_iou` and
        `region_spread` (of the image's edge); and on data with boxes `pointing`,
        `pointing_pairs`, and for comparison `pointing_centre` (always the centre of the
        image), `pointing_shuffled` (each region where it is on another image) and
        `pointing_evidence` (the evidence map of step 1's own classifier, see
        `evidence_map`). The last is NaN where there is no such map: without a pooled
        classifier, where that is not linear or flattens, and for several models, which
        have none in common.
    """
    centres = region_centres(outputs, about)
    found = {
        "region_spread": region_metrics.region_spread(centres),
        "region_iou": region_metrics.region_iou(outputs["boxes"]),
    }
    if split.boxes is None:
        return found
    known = split.boxes, split.labels, split.label_names
    speaking = centres, outputs["region_scores"]
    found["pointing"], pairs = region_metrics.pointing_score(*known, *speaking)
    found["pointing_pairs"] = pairs
    found["pointing_shuffled"] = region_metrics.shuffled_pointing_score(
        *known, *speaking
    )
    alone = pooled and about.get("models", 1) == 1
    return found | _compared_pointing(split, pooled.get("evidence") if alone else None)


def _compared_pointing(split, evidence):
    """What pointing is compared with, whatever the regions; none without boxes."""
    if split.boxes is None:
        return {}
    known = split.boxes, split.labels, split.label_names
    middle = np.full((*split.labels.shape, 2), 0.5)
    centre, _ = region_metrics.hit_rate(*known, middle)
    rate = math.nan
    if evidence is not None:
        rate, _ = region_metrics.hit_rate(*known, evidence)
    return {"pointing_evidence": rate, "pointing_centre": centre}


def region_centres(outputs, about):
    """The centres of regions as predicted: a region may lie half outside.

    Args:
        outputs: See `evaluate`.
        about: See `region_figures`.

    Returns:
        `(n, K, 2)` `y, x` as fractions of the original image, not clipped to it.
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
    """The figures of the model and of what it was compared with.

    Args:
        result: What `evaluate` returned.

    Returns:
        A dict from name to figures, the model's own first: "svm" where the SVMs are
        compared with the attention model they look through, else "attention".
    """
    compared = [
        name.removeprefix("above_") for name in result if name.startswith("above_")
    ]
    own = "svm" if "attention" in compared else "attention"
    return {own: result} | {name: result[name] for name in compared}


def table(result):
    """Writes a result as the table that a person reads.

    Args:
        result: What `evaluate` returned.

    Returns:
        Lines of text: a row of AP for each label, then the means and the figures of
        Eq. 15, for the model and what it was compared with; then intervals, pointing
        and warnings. The first line says of what, and how they are counted.
    """
    models = columns(result)
    own, *compared = models
    rows = [("", *models)]
    rows += [
        (f"AP {label}", *(_percent(m["AP"][label]) for m in models.values()))
        for label in result["AP"]
    ]
    figures = [name for name in result if name.startswith(FIGURES)]
    for name in figures:
        rows.append((name, *(_percent(m[name]) for m in models.values())))
    for name in ("calibration_error", *OF_REGIONS):
        if name in result:
            rows.append((name, _percent(result[name]), *[""] * len(compared)))
    if "at_thresholds" in result:
        for name, value in result["at_thresholds"].items():
            row = f"{name} at fitted thresholds", _percent(value)
            rows.append((*row, *[""] * len(compared)))
    width = max(len(row[0]) for row in rows)
    lines = [_counted(result)]
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
    """Writes what `evaluate_pooled` returned as the text that a person reads."""
    shown = {n: v for n, v in result["pooled"].items() if n.startswith(FIGURES)}
    shown |= {name: result[name] for name in OF_REGIONS if name in result}
    width = max(map(len, shown))
    lines = [f"{result['split']}, {result['images']} images; step 1 alone"]
    lines += [f"{n.ljust(width)}{_percent(v).rjust(12)}" for n, v in shown.items()]
    return "\n".join(lines)


def _counted(result):
    how = result["protocol"]
    views = f"{how['views']} view{'s' * (how['views'] > 1)} from {how['views_from']}"
    return (
        f"{result['split']}, {result['images']} images; protocol {how['name']}, AP "
        f"interpolation {how['interpolation']}; {views}, N = "
        f"{', '.join(map(str, how['scales']))}; difficult: {how['difficult']}"
    )


def _percent(value):
    return "\N{EN DASH}" if value is None else f"{100 * value:.1f}"


def write(result, path):
    """Writes a result as JSON, what is not a number as null."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(_without_nan(result), indent=2) + "\n")
