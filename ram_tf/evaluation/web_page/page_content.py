"""What a model says of one picture, as the page of `web_page` shows it."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from ram_tf.data.decoding import decode_image
from ram_tf.data.drawing import colour, draw_boxes, draw_regions, predicted_labels
from ram_tf.models import losses

# Ours: what is still fast, and still read at a glance.
SHOWN = 1280  # pixels of the longer side that are kept of a picture
STEP = 240  # the same of a picture in the row of steps
BEST = 2  # labels told of each region


class PictureResult(NamedTuple):
    """What a model says of one picture.

    Args:
        image: `(H, W, 3)` uint8, made smaller where the picture is large.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image.
        probabilities: `(L,)`.
        region_scores: `(K, L)`.
        says: `(K, L)` probabilities that each region alone would give.
        label_names: The L labels.
        thresholds: `(L,)` probabilities from which on labels are named.
        per_step: Regions a step: 1, for RARL nine.
        joint: Whether the probabilities come from more than these regions: from SVMs,
            several views or scales.
    """

    image: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray
    region_scores: np.ndarray
    says: np.ndarray
    label_names: tuple[str, ...]
    thresholds: np.ndarray
    per_step: int
    joint: bool

    @property
    def ranking(self):
        """The indices of the labels, the most probable first."""
        return np.argsort(-self.probabilities, kind="stable")

    def speaker(self, label):
        """The region that spoke for a label: the one whose score is the largest."""
        return int(self.region_scores[:, label].argmax())


def look(predictor, encoded):
    """Shows a picture to a model.

    Args:
        predictor: A `Predictor`.
        encoded: The bytes of a JPEG or PNG.

    Returns:
        The `PictureResult`.

    Raises:
        ValueError: The picture cannot be read or has too many pixels.
    """
    about, config = predictor.about, predictor.config
    outputs = {name: rows[0] for name, rows in predictor([encoded]).items()}
    if not outputs["valid"]:
        raise ValueError(
            "The picture cannot be read. Expected a whole JPEG or PNG file of at most "
            f"{config.data.max_pixels:,} pixels. Received: {len(encoded):,} bytes of "
            "something else"
        )
    scores = outputs["region_scores"]
    says = losses.probabilities(
        scores / about.get("temperature", 1.0), config.loss.classification
    )
    return PictureResult(
        _smaller(decode_image(encoded, config.data.max_pixels).numpy()),
        outputs["boxes"],
        outputs["probabilities"],
        scores,
        says.numpy(),
        tuple(predictor.label_names),
        predictor.thresholds,
        config.regions_a_step,
        about.get("svm", False) or about["views"] * len(about["scales"]) > 1,
    )


def _smaller(image):
    picture = Image.fromarray(image)
    picture.thumbnail((SHOWN, SHOWN))
    return np.asarray(picture)


def summarize(looked):
    """One sentence on the whole picture."""
    named = int((looked.probabilities >= looked.thresholds).sum())
    return (
        f"{named} of {len(looked.label_names)} labels named, "
        f"{len(looked.boxes)} regions looked at."
    )


def bars(looked):
    """The probability of each label as it is shown, the most probable first."""
    named = looked.probabilities >= looked.thresholds
    return {
        ("✓ " if named[i] else "") + looked.label_names[i]: float(
            looked.probabilities[i]
        )
        for i in looked.ranking
    }


def draw_result(looked, label=None):
    """Draws the regions of the named labels, or the one that spoke for one label.

    Args:
        looked: A `PictureResult`.
        label: The index of a label; None for all that are named.

    Returns:
        An RGB `PIL.Image`.
    """
    spoken = predicted_labels(
        looked.probabilities,
        looked.region_scores,
        looked.label_names,
        looked.thresholds,
    )
    if label is not None:
        probability = float(looked.probabilities[label])
        spoken = [(looked.label_names[label], probability, looked.speaker(label))]
    return draw_regions(looked.image, looked.boxes, spoken, 800, looked.per_step)


def draw_steps(looked):
    """Draws the regions one by one, in the order in which the model looked.

    Args:
        looked: A `PictureResult`.

    Returns:
        K pairs of a `PIL.Image` and the words below it: the region's number, from 1,
        and the labels that it speaks for most.
    """
    drawn = (
        draw_boxes(looked.image, box[None], colour(region // looked.per_step), "", STEP)
        for region, box in enumerate(looked.boxes)
    )
    # The page lays the words over the lower edge, where there is room for them then.
    return [
        (ImageOps.expand(picture, (0, 0, 0, STEP // 12), "white"), words)
        for picture, words in zip(drawn, _captions(looked), strict=True)
    ]


def _captions(looked):
    for region, says in enumerate(looked.says):
        best = np.argsort(-says, kind="stable")[:BEST]
        told = ", ".join(f"{looked.label_names[i]} ({says[i]:.0%})" for i in best)
        step = f", step {region // looked.per_step + 1}" if looked.per_step > 1 else ""
        yield f"{region + 1}{step}: {told}"


def draw_course(looked, label):
    """Draws how a label's score went from region to region.

    Args:
        looked: A `PictureResult`.
        label: The index of the label.

    Returns:
        A `Figure`: a point for each region's score, in the region's colour, the largest
        ringed, and a line for the largest so far, which is Eq. 6's score up to there.
    """
    scores = looked.region_scores[:, label]
    numbers = np.arange(1, len(scores) + 1)
    speaker = looked.speaker(label)
    figure = Figure(figsize=(5.6, 2.8), dpi=140, layout="constrained")
    axes = figure.add_subplot()
    so_far = np.maximum.accumulate(scores)
    axes.step(numbers, so_far, "--", where="post", color="grey", label="largest so far")
    axes.plot(numbers, scores, color="black", linewidth=0.8, zorder=1)
    inks = [np.divide(colour(k // looked.per_step), 255) for k in range(len(scores))]
    axes.scatter(numbers, scores, 70, inks, edgecolors="black", linewidths=0.8)
    ring = {"s": 220, "facecolors": "none", "edgecolors": "black", "linewidths": 1.6}
    axes.scatter(numbers[speaker], scores[speaker], label="spoke for it", **ring)
    axes.set_title(looked.label_names[label], loc="left", parse_math=False)
    axes.set_xlabel("region, in the order in which the model looked")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.04, y=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return figure


def tell(looked, label):
    """One sentence or two on who spoke for a label."""
    region = looked.speaker(label)
    sentence = (
        f"{looked.label_names[label]}: {looked.probabilities[label]:.1%}, named from "
        f"{looked.thresholds[label]:.1%} on. Region {region + 1} of "
        f"{len(looked.boxes)} spoke for it."
    )
    if looked.joint:
        sentence += (
            " The probability is that of all views and SVMs together, a region's score "
            "the network's in the middle view."
        )
    return sentence
