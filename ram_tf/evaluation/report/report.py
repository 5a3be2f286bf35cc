"""One HTML page on what a model does to a split: figures, charts and pictures.

The page needs neither network nor JavaScript: style, charts (SVG) and pictures (JPEG)
lie in the file. `report.html` is its template; Jinja escapes whatever goes in, since
names of labels and images are anyone's. The same input gives the same bytes.
"""

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
    "regions": "Where the regions look",
    "confusions": "Confusions",
    "pictures": "Best and worst pictures",
    "method": "How this was computed",
}
MEANINGS = {
    "mAP": "mean average precision: how well images are ranked, label by label",
    "mAP_none": "mAP without interpolation: the mean precision at the positives",
    "mAP_voc2010": "mAP as of VOC 2010: the area under the monotone curve",
    "mAP_voc2007": "mAP as of VOC 2007: the mean precision at 11 recalls",
    "mAP_min10": "mAP over the labels with at least 10 positives",
    "OP": "overall precision: of all predicted labels, the share that is present",
    "OR": "overall recall: of all present labels, the share that is predicted",
    "OF1": "harmonic mean of OP and OR",
    "CP": "the labels' own precision, averaged",
    "CR": "the labels' own recall, averaged",
    "CF1": "of CP and CR, or of the labels' own, as the protocol has it",
}
OF_REGIONS = {
    "pointing": "the middle of the region that speaks for a present label lies in one "
    "of its boxes",
    "pointing_evidence": "the same of step 1's own evidence map: its classifier on "
    "each cell, the best mean of 3 by 3 cells",
    "pointing_centre": "the same of the middle of the image",
    "pointing_shuffled": "the same with each region where it is on another image: what "
    "is missing to pointing is what regions gain by going where the image asks for",
    "region_spread": "how far a region's middle moves from image to image: root of the "
    "mean of its variances across and down, as a share of the image's edge",
    "region_iou": "mean intersection over union of an image's pairs of regions",
}
# Ours: what is still read at a glance.
NUMBERED = 20  # labels up to which a matrix has numbers in its cells
OPEN = 6  # labels up to which the pictures of all are unfolded
PANELS = 24  # labels up to which curves and tables of all are unfolded
PAIRS = 10  # most frequent pairs that are told in words


def render(seen, split, settings, result, protocol, title, pictures=3):
    """Writes the page.

    Args:
        seen: What is `SplitOutputs` of the split.
        split: The `Split`.
        settings: The `Config`, for the largest image.
        result: What `evaluate` made of it.
        protocol: The `Protocol` that the result was counted by.
        title: What the page calls the model.
        pictures: Most pictures of a label in each of three rows: present and surest,
            present and least sure, absent and surest.

    Returns:
        The HTML, a string.

    Raises:
        ValueError: Fewer than one picture is asked for.
    """
    if pictures < 1:
        raise ValueError(
            f"Invalid `pictures`. Expected at least 1. Received: pictures={pictures}"
        )
    outputs = seen.outputs
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
        about=seen.about,
        sections=SECTIONS,
        meanings=MEANINGS,
        of_regions={n: text for n, text in OF_REGIONS.items() if n in result},
        figures=sorted(
            (name for name in result if name.startswith(results.FIGURES)),
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
        regions=_regions(seen, split.labels, settings.regions_a_step),
        confusion=confusion,
        instead=_instead(labels, predicted, split.label_names),
        albums=report_images.albums(outputs, split, predicted, settings, pictures),
    )


def write(page, path):
    """Writes a page to a file."""
    with atomic_write(path) as temporary:
        # A file's name may hold bytes that are no text.
        temporary.write_text(page, "utf-8", errors="backslashreplace")


def _percent(share):
    """A share in [0, 1] as text, a dash where there is none."""
    if share is None or math.isnan(share):
        return "\N{EN DASH}"
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _points(difference):
    """A difference of shares as text, with its sign."""
    if difference is None or math.isnan(difference):
        return "\N{EN DASH}"
    text = f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{text if text[1:] != '0.0' else '0.0'}\N{NO-BREAK SPACE}points"


def _count(number):
    return f"{number:,}"


def _level(share):
    """Which of the eleven shades a share has."""
    return 0 if math.isnan(share) else round(10 * float(share))


def _data(labels, boxes):
    """What a split holds, in numbers."""
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
    """Two labels that meet in images.

    Args:
        one: Name of the first label.
        other: Name of the second one.
        count: Number of images.
        share: Of the images of the first, the share of these.
        back: Of the images of the second, the share of these.
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
    """The most frequent `Pair`s, of equals the earlier ones."""
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    return [
        Pair(names[i], names[j], counts[i, j], shares[i, j], shares[j, i])
        for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[i, j]
    ]


def _panels(probabilities, split, result, protocol, confusion):
    """The curve of each label that has one, the highest AP first."""
    monotone = protocol.interpolation != "none"
    steps = multi_label.precision_steps(split.labels, probabilities, monotone)
    known = (split.labels >= 0).sum(0)
    panels = []
    for index, (name, heights) in enumerate(zip(split.label_names, steps, strict=True)):
        if not len(heights):
            continue
        counts = {key: int(value[index]) for key, value in confusion.items()}
        named = counts["TP"] + counts["FP"]
        panels.append(
            {
                "name": name,
                "positives": len(heights),
                "AP": result["AP"][name],
                "chance": len(heights) / known[index],
                "path": charts.path(*charts.curve(heights)),
                "recall": counts["TP"] / (counts["TP"] + counts["FN"]),
                "precision": counts["TP"] / named if named else None,
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


def _regions(seen, labels, together):
    """Where each look goes and what it speaks for, `together` regions a look."""
    outputs = seen.outputs
    boxes = outputs["boxes"]
    looks = boxes.shape[1] // together
    speaker = outputs["region_scores"].argmax(1) // together  # (n, L)
    spoken = np.stack([((labels > 0) & (speaker == k)).sum(0) for k in range(looks)], 1)
    whole = np.broadcast_to((labels > 0).sum(0)[:, None], spoken.shape)
    heats = charts.coverage(boxes)
    heats = heats.reshape(looks, together, *heats.shape[1:]).mean(1)
    median = np.median(boxes, 0).reshape(looks, together, 4)
    # The regions of a look have one middle, the first of them is seldom cut off.
    first = boxes[:, ::together]
    centres = results.region_centres(outputs, seen.about)
    spreads = region_metrics.spreads(centres[:, ::together])
    rows = []
    for k, heat in enumerate(heats):
        ground = drawing.colour(k)
        rows.append(
            {
                "colour": charts.css(ground),
                "letters": charts.letters_on(ground),
                "heat": _heat(heat),
                "share": float(spoken[:, k].sum() / max(1, whole[:, 0].sum())),
                "boxes": [charts.frame(box) for box in median[k]],
                "spread": float(spreads[k]),
                "width": float(np.median(first[:, k, 3] - first[:, k, 1])),
                "height": float(np.median(first[:, k, 2] - first[:, k, 0])),
            }
        )
    return {
        "each": rows,
        "together": together,
        "speakers": multi_label.ratio(spoken, whole),
        "spoken": spoken,
    }


def _heat(shares):
    """Shares as a PNG in the shades of the matrices."""
    return report_images.embedded(Image.fromarray(charts.shades(shares)), "PNG")
