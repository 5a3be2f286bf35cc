"""A model's predictions for one picture, as texts and drawings of the web page."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from ram_tf.data.drawing import colour, draw_boxes, draw_regions, predicted_labels
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.image_faults import find_fault
from ram_tf.models import losses

# Ours, so that the page is fast and clear.
PICTURE_SIZE = 1280  # longer side in pixels, at most
STEP_SIZE = 240  # longer side of the picture of one region
LABELS_PER_REGION = 2  # in the caption of a region


class PictureResult(NamedTuple):
    """The predictions for one picture.

    Args:
        image: `(H, W, 3)` uint8, the picture, downscaled if it is large.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image.
        probabilities: `(L,)`.
        region_scores: `(K, L)`.
        region_probabilities: `(K, L)`, the probabilities of each region alone.
        label_names: The L labels.
        thresholds: `(L,)` probabilities from which on labels are predicted.
        per_step: Regions per step: 1, with RARL 9.
        joint: Whether the probabilities do not come from these regions alone, but from
            SVMs, several views or several scales.
    """

    image: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray
    region_scores: np.ndarray
    region_probabilities: np.ndarray
    label_names: tuple[str, ...]
    thresholds: np.ndarray
    per_step: int
    joint: bool

    @property
    def ranking(self):
        """The indices of the labels by falling probability."""
        return np.argsort(-self.probabilities, kind="stable")

    def best_region(self, label):
        """Returns the index of the region with the highest score of a label."""
        return int(self.region_scores[:, label].argmax())


def predict_picture(predictor, encoded):
    """Runs a model on a picture.

    Args:
        predictor: A `Predictor`.
        encoded: The bytes of a JPEG or PNG.

    Returns:
        The `PictureResult`.

    Raises:
        ValueError: The picture cannot be read or has too many pixels.
    """
    about, config = predictor.about, predictor.config
    limits = config.data.max_pixels, config.data.truncated
    outputs = {name: rows[0] for name, rows in predictor([encoded]).items()}
    if not outputs["valid"]:
        raise ValueError(
            "The picture cannot be read. Expected a whole JPEG or PNG file of at most "
            f"{config.data.max_pixels:,} pixels. Received: {len(encoded):,} bytes, "
            f"{find_fault(encoded, *limits).detail}"
        )
    scores = outputs["region_scores"]
    region_probabilities = losses.probabilities(
        scores / about.get("temperature", 1.0), config.loss.classification
    )
    return PictureResult(
        image=_downscaled(decode_image(encoded, *limits).numpy()),
        boxes=outputs["boxes"],
        probabilities=outputs["probabilities"],
        region_scores=scores,
        region_probabilities=region_probabilities.numpy(),
        label_names=tuple(predictor.label_names),
        thresholds=predictor.thresholds,
        per_step=config.regions_a_step,
        joint=about.get("svm", False) or about["views"] * len(about["scales"]) > 1,
    )


def _downscaled(image):
    picture = Image.fromarray(image)
    picture.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
    return np.asarray(picture)


def summarize(result):
    """Returns a sentence on the whole picture."""
    predicted = int((result.probabilities >= result.thresholds).sum())
    return (
        f"{predicted} of {len(result.label_names)} labels predicted from "
        f"{len(result.boxes)} regions."
    )


def bars(result):
    """Returns the probability of each label, by falling probability."""
    predicted = result.probabilities >= result.thresholds
    return {
        ("✓ " if predicted[i] else "") + result.label_names[i]: float(
            result.probabilities[i]
        )
        for i in result.ranking
    }


def draw_result(result, label=None):
    """Draws the best region of each predicted label, or of a single label.

    Args:
        result: A `PictureResult`.
        label: The index of a label; None for all predicted ones.

    Returns:
        An RGB `PIL.Image`.
    """
    labels = predicted_labels(
        result.probabilities,
        result.region_scores,
        result.label_names,
        result.thresholds,
    )
    if label is not None:
        probability = float(result.probabilities[label])
        labels = [(result.label_names[label], probability, result.best_region(label))]
    return draw_regions(result.image, result.boxes, labels, 800, result.per_step)


def draw_steps(result):
    """Draws the regions one by one, in the model's order.

    Args:
        result: A `PictureResult`.

    Returns:
        K pairs of a `PIL.Image` and its caption: the region's number, from 1, and its
        most probable labels.
    """
    pictures = (
        draw_boxes(
            result.image, box[None], colour(region // result.per_step), "", STEP_SIZE
        )
        for region, box in enumerate(result.boxes)
    )
    # The page puts the caption over the lower edge, hence the white margin.
    return [
        (ImageOps.expand(picture, (0, 0, 0, STEP_SIZE // 12), "white"), caption)
        for picture, caption in zip(pictures, _captions(result), strict=True)
    ]


def _captions(result):
    for region, shares in enumerate(result.region_probabilities):
        best = np.argsort(-shares, kind="stable")[:LABELS_PER_REGION]
        labels = ", ".join(f"{result.label_names[i]} ({shares[i]:.0%})" for i in best)
        step = f", step {region // result.per_step + 1}" if result.per_step > 1 else ""
        yield f"{region + 1}{step}: {labels}"


def draw_region_scores(result, label):
    """Draws the scores of a label over the regions.

    Args:
        result: A `PictureResult`.
        label: The index of the label.

    Returns:
        A `Figure`: a point for each region's score, in the region's colour, a ring
        around the highest, and a line for the highest so far, the score of Eq. 6 of the
        regions up to there.
    """
    scores = result.region_scores[:, label]
    numbers = np.arange(1, len(scores) + 1)
    best = result.best_region(label)
    figure = Figure(figsize=(5.6, 2.8), dpi=140, layout="constrained")
    axes = figure.add_subplot()
    so_far = np.maximum.accumulate(scores)
    axes.step(numbers, so_far, "--", where="post", color="grey", label="highest so far")
    axes.plot(numbers, scores, color="black", linewidth=0.8, zorder=1)
    inks = [np.divide(colour(k // result.per_step), 255) for k in range(len(scores))]
    axes.scatter(numbers, scores, 70, inks, edgecolors="black", linewidths=0.8)
    ring = {"s": 220, "facecolors": "none", "edgecolors": "black", "linewidths": 1.6}
    axes.scatter(numbers[best], scores[best], label="highest score", **ring)
    axes.set_title(result.label_names[label], loc="left", parse_math=False)
    axes.set_xlabel("region, in the model's order")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.04, y=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return figure


def describe_label(result, label):
    """Returns sentences on a label's probability and its best region."""
    region = result.best_region(label)
    sentence = (
        f"{result.label_names[label]}: {result.probabilities[label]:.1%}, predicted "
        f"from {result.thresholds[label]:.1%} on. Region {region + 1} of "
        f"{len(result.boxes)} has its highest score."
    )
    if result.joint:
        sentence += (
            " The probability comes from all views and SVMs; the scores of the regions "
            "are the network's in the centre view."
        )
    return sentence
