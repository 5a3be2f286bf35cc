"""The pictures of a report: the best and the worst predictions of each label."""

import base64
import io
import math

import numpy as np

from ram_tf.data import drawing
from ram_tf.data.image_bytes import read_files
from ram_tf.data.images.decoding import decode_image

PICTURE_SIZE = 240  # longer side of a picture in pixels, ours


def choose(labels, probabilities, count):
    """Chooses the best and worst images of a label.

    Args:
        labels: `(n,)` 1, 0 or -1; images where it is unknown are not chosen.
        probabilities: `(n,)`.
        count: Length of a list, at most.

    Returns:
        Three disjoint lists of indices: positives by falling probability, positives by
        rising probability, negatives by falling probability. At equal probability the
        earlier image is first. If there are fewer than twice `count` positives, the
        larger half is in the first list.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    present, absent = np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)
    falling = present[np.argsort(-probabilities[present], kind="stable")]
    best = falling[: min(count, math.ceil(len(present) / 2))]
    rising = present[np.argsort(probabilities[present], kind="stable")]
    worst = [i for i in rising if i not in best][:count]
    wrong = absent[np.argsort(-probabilities[absent], kind="stable")][:count]
    return best.tolist(), [int(i) for i in worst], wrong.tolist()


def albums(outputs, split, predicted, settings, count):
    """Draws the pictures of each label.

    Args:
        outputs: The outputs of a model on the split.
        split: The `Split`.
        predicted: `(n, L)`, which labels are predicted.
        settings: The `Config`, for the largest image.
        count: Pictures in a row, at most.

    Returns:
        For each label the three rows of `choose`, lists of dicts.
    """
    probabilities = outputs["probabilities"]
    chosen = [
        choose(split.labels[:, index], probabilities[:, index], count)
        for index in range(len(split.label_names))
    ]
    pictures = [[[None] * len(row) for row in rows] for rows in chosen]
    places = {}
    for label, rows in enumerate(chosen):
        for row, images in enumerate(rows):
            for column, image in enumerate(images):
                places.setdefault(image, []).append((label, row, column))
    # Each file is read and decoded once, for all labels that need it.
    order = sorted(places)
    for image, encoded in zip(order, read_files(split.take(order)), strict=True):
        data = settings.data
        pixels = decode_image(encoded, data.max_pixels, data.truncated).numpy()
        about = {
            "image": split.names[image],
            "present": _names(split, split.labels[image] > 0),
            "unknown": _names(split, split.labels[image] < 0),
            "predicted": _names(split, predicted[image]),
        }
        for label, row, column in places[image]:
            name = split.label_names[label]
            region = int(outputs["region_scores"][image, :, label].argmax())
            probability = float(probabilities[image, label])
            drawn = drawing.draw_regions(
                pixels,
                outputs["boxes"][image],
                [(name, probability, region)],
                PICTURE_SIZE,
                settings.regions_a_step,
            )
            pictures[label][row][column] = about | {
                "source": embedded(drawn, "JPEG", quality=80, optimize=True),
                "size": drawn.size,
                "probability": probability,
                "region": region + 1,
                "is_predicted": bool(predicted[image, label]),
            }
    return pictures


def embedded(image, kind, **options):
    """Encodes a picture as a `data:` address, for the `src` of an `<img>`.

    Args:
        image: A `PIL.Image`.
        kind: "PNG" or "JPEG".
        **options: Options of `PIL.Image.save`.
    """
    file = io.BytesIO()
    image.save(file, kind, **options)
    content = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{content}"


def _names(split, which):
    return [name for name, is_in in zip(split.label_names, which, strict=True) if is_in]
