"""An HTML report of a model on a split: metrics, charts and pictures.

The page needs neither network nor JavaScript: style, charts (SVG) and pictures (JPEG)
are in the file. Jinja escapes all values in its template `report.html`, since names of
labels and images are untrusted. The same input gives the same bytes.
"""

import io
import math
import pathlib
from typing import NamedTuple

import jinja2
import numpy as np
from PIL import Image

from ram_tf.data import drawing
from ram_tf.evaluation import results
from ram_tf.evaluation.report import charts, report_images
from ram_tf.metrics import (
    label_pairs,
    multi_label,
    protocols,
    region_metrics,
    reliability,
)
from ram_tf.storage.atomic_files import atomic_write

SECTIONS = {
    "data": "Data",
    "results": "Results",
    "curves": "Precision and recall",
    "calibration": "Calibration",
    "regions": "Locations of the regions",
    "confusions": "Confusions",
    "pictures": "Best and worst pictures",
    "training": "Training",
    "method": "Method",
}
MEANINGS = {
    "mAP": "mean average precision: how well images are ranked, averaged over labels",
    "mAP_none": "mAP without interpolation: the mean precision at the positives",
    "mAP_voc2010": "mAP as in VOC 2010: the area under the monotone curve",
    "mAP_voc2007": "mAP as in VOC 2007: the mean precision at 11 recalls",
    "mAP_min10": "mAP over the labels with at least 10 positives",
    "OP": "overall precision: the share of predicted labels that are present",
    "OR": "overall recall: the share of present labels that are predicted",
    "OF1": "harmonic mean of OP and OR",
    "CP": "mean precision of the labels",
    "CR": "mean recall of the labels",
    "CF1": "harmonic mean of CP and CR, or mean F1 of the labels, by protocol",
}
REGION_MEANINGS = {
    "pointing": "how often the centre of the region that predicts a present label lies "
    "in a box of the label",
    "pointing_evidence": "the same for the evidence map of step 1: its classifier on "
    "each cell, the best mean of 3 by 3 cells",
    "pointing_centre": "the same for the centre of the image",
    "pointing_shuffled": "the same with each region at its place on another image: "
    "pointing above it is due to the choice of regions by the image",
    "region_spread": "how far a region's centre moves from image to image: root of the "
    "mean of its variances across and down, as a share of the image's edge",
    "region_iou": "mean intersection over union of all pairs of regions of an image",
}
# Ours, so that the page stays clear.
NUMBERED = 20  # labels up to which the cells of a matrix have numbers
OPEN = 6  # labels up to which all pictures are unfolded
PANELS = 24  # labels up to which all curves and tables are unfolded
PAIRS = 10  # most frequent pairs that are listed


def render(inferred, split, settings, result, protocol, title, pictures=3, curves=()):
    """Renders the report as HTML.

    Args:
        inferred: The `SplitOutputs` of the split.
        split: The `Split`.
        settings: The `Config`, for the largest image.
        result: The result of `evaluate` on them.
        protocol: The `Protocol` of the result.
        title: The name of the model on the page.
        pictures: Pictures of a label, at most, in each of three rows: present with the
            highest and with the lowest probabilities, absent with the highest.
        curves: Pairs of the name of a run and the PNG of its learning curves, see
            `learning_curves.draw`; none for exported models.

    Raises:
        ValueError: `pictures` is less than 1.
    """
    if pictures < 1:
        raise ValueError(
            f"Invalid `pictures`. Expected at least 1. Received: pictures={pictures}"
        )
    outputs = inferred.outputs
    labels, predicted = protocols.as_counted(
        split.labels, outputs["probabilities"], protocol, protocol.top_k[0]
    )
    confusion = multi_label.confusion(labels, predicted)
    own, *compared = results.columns(result)
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "count": _count,
        "level": _level,
    }
    template = pathlib.Path(__file__).with_suffix(".html").read_text("utf-8")
    return environment.from_string(template).render(
        title=title,
        split=split,
        settings=settings,
        names=split.label_names,
        result=result,
        own=own,
        compared=compared,
        intervals={
            name: interval
            for name, interval in result["intervals"].items()
            if interval["low"] is not None
        },
        protocol=protocol,
        about=inferred.about,
        sections=SECTIONS,
        meanings=MEANINGS,
        region_meanings={n: t for n, t in REGION_MEANINGS.items() if n in result},
        metrics=sorted(
            (name for name in result if name.startswith(results.METRIC_PREFIXES)),
            key=lambda name: not name.startswith("mAP"),
        ),
        thresholded=result.get("at_thresholds", {}),
        shades=[charts.shade(level / 10) for level in range(11)],
        numbered=NUMBERED,
        shown=PANELS,
        many=len(split.label_names) > PANELS,
        unfolded=len(split.label_names) <= OPEN,
        data=_data(split.labels, split.boxes),
        together=_together(split.labels, split.label_names),
        together_predicted=_together(
            np.where(labels < 0, -1, predicted), split.label_names
        ),
        panels=_panels(outputs["probabilities"], split, result, protocol, confusion),
        reliability=_reliability(split.labels, outputs["probabilities"]),
        regions=_regions(inferred, split.labels, settings.regions_a_step),
        confusion=confusion,
        instead=_instead(labels, predicted, split.label_names),
        curves=[
            (name, report_images.embedded(Image.open(io.BytesIO(png)), "PNG"))
            for name, png in curves
        ],
        albums=report_images.albums(outputs, split, predicted, settings, pictures),
    )


def write(page, path):
    """Writes a page to a file."""
    with atomic_write(path) as temporary:
        # The name of a file may contain bytes that are not text.
        temporary.write_text(page, "utf-8", errors="backslashreplace")


def _percent(share):
    """Formats a share in [0, 1]; a dash for None or NaN."""
    if share is None or math.isnan(share):
        return "\N{EN DASH}"
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _points(difference):
    """Formats a difference of shares, with its sign."""
    if difference is None or math.isnan(difference):
        return "\N{EN DASH}"
    text = f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{text if text[1:] != '0.0' else '0.0'}\N{NO-BREAK SPACE}points"


def _count(number):
    return f"{number:,}"


def _level(share):
    """Returns the number of the shade of a share, 0 to 10."""
    return 0 if math.isnan(share) else round(10 * float(share))


def _data(labels, boxes):
    """Counts labels and boxes of a split."""
    present, unknown = (labels > 0).sum(0), (labels < 0).sum(0)
    per_image = np.bincount((labels > 0).sum(1), minlength=1)
    return {
        "present": present,
        "absent": len(labels) - present - unknown,
        "unknown": unknown,
        "per_image": per_image,
        "boxes": boxes and sum(len(b) for image in boxes for b in image.values()),
    }


class Pair(NamedTuple):
    """Two labels that occur in the same images.

    Args:
        one: Name of the first label.
        other: Name of the second label.
        count: Number of these images.
        share: Their share of the images of the first label.
        back: Their share of the images of the second label.
    """

    one: str
    other: str
    count: int
    share: float
    back: float


def _together(labels, names):
    shares, counts = label_pairs.cooccurrence(labels)
    pairs = _pairs(shares, np.triu(counts, 1), names)
    return {"shares": shares, "counts": counts, "pairs": pairs}


def _instead(labels, predicted, names):
    shares, counts = label_pairs.predicted_instead(labels, predicted)
    return {"shares": shares, "counts": counts, "pairs": _pairs(shares, counts, names)}


def _pairs(shares, counts, names):
    """Returns the most frequent `Pair`s; at equal counts the earlier labels."""
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    return [
        Pair(names[i], names[j], counts[i, j], shares[i, j], shares[j, i])
        for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[i, j]
    ]


def _panels(probabilities, split, result, protocol, confusion):
    """Returns the curve of each label that has one, by falling AP."""
    monotone = protocol.interpolation != "none"
    steps = multi_label.precision_steps(split.labels, probabilities, monotone)
    known = (split.labels >= 0).sum(0)
    panels = []
    for index, (name, heights) in enumerate(zip(split.label_names, steps, strict=True)):
        if not len(heights):
            continue
        counts = {key: int(value[index]) for key, value in confusion.items()}
        positive = counts["TP"] + counts["FP"]
        panels.append(
            {
                "name": name,
                "positives": len(heights),
                "AP": result["AP"][name],
                "chance": len(heights) / known[index],
                "path": charts.path(*charts.curve(heights)),
                "recall": counts["TP"] / (counts["TP"] + counts["FN"]),
                "precision": counts["TP"] / positive if positive else None,
            }
        )
    return sorted(panels, key=lambda panel: -panel["AP"])


def _reliability(labels, probabilities):
    mean, share, count = reliability.reliability_curve(labels, probabilities)
    filled = np.flatnonzero(count)
    most = np.log1p(count.max())
    return {
        "path": charts.path(mean[filled], share[filled]) if len(filled) else "",
        "bins": [
            {
                "low": index / len(count),
                "high": (index + 1) / len(count),
                "mean": float(mean[index]),
                "share": float(share[index]),
                "count": int(count[index]),
                "radius": float(1 + 2 * np.log1p(count[index]) / most),
            }
            for index in filled
        ],
    }


def _regions(inferred, labels, per_step):
    """Summarises locations and labels of each step, of `per_step` regions."""
    outputs = inferred.outputs
    boxes = outputs["boxes"]
    steps = boxes.shape[1] // per_step
    best = outputs["region_scores"].argmax(1) // per_step  # (n, L)
    counts = np.stack([((labels > 0) & (best == k)).sum(0) for k in range(steps)], 1)
    whole = np.broadcast_to((labels > 0).sum(0)[:, None], counts.shape)
    heats = charts.coverage(boxes)
    heats = heats.reshape(steps, per_step, *heats.shape[1:]).mean(1)
    median = np.median(boxes, 0).reshape(steps, per_step, 4)
    # The regions of a step share a centre; the first one is rarely clipped.
    first = boxes[:, ::per_step]
    centres = results.region_centres(outputs, inferred.about)
    spreads = region_metrics.spreads(centres[:, ::per_step])
    rows = []
    for k, heat in enumerate(heats):
        ground = drawing.colour(k)
        rows.append(
            {
                "colour": charts.css(ground),
                "letters": charts.letters_on(ground),
                "heat": _heat(heat),
                "share": float(counts[:, k].sum() / max(1, whole[:, 0].sum())),
                "boxes": [charts.frame(box) for box in median[k]],
                "spread": float(spreads[k]),
                "width": float(np.median(first[:, k, 3] - first[:, k, 1])),
                "height": float(np.median(first[:, k, 2] - first[:, k, 0])),
            }
        )
    return {
        "each": rows,
        "per_step": per_step,
        "shares": multi_label.ratio(counts, whole),
        "counts": counts,
    }


def _heat(shares):
    """Encodes shares as a PNG in the shades of the matrices."""
    return report_images.embedded(Image.fromarray(charts.shades(shares)), "PNG")
