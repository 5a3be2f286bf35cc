"""What regions are judged by: do they point at objects, and do they differ?"""

import numpy as np


def pointing_score(split_boxes, labels, label_names, centres, region_scores):
    """How often a label's best region points at an object of that label.

    Counted are the (image, label) pairs whose label is present and has boxes. Such a
    pair is a hit if the centre of the region with the highest score for the label lies
    inside one of its boxes, borders included. Of equal scores the earlier region
    speaks. With one region at (0.5, 0.5) this is the score of always pointing at the
    centre of the image.

    Args:
        split_boxes: Per image a dict from label name to `(m, 4)` `ymin, xmin, ymax,
            xmax`, fractions of the image (`Split.boxes`).
        labels: `(n, L)` 1, 0 or -1.
        label_names: The `L` names in the order of the columns.
        centres: `(n, K, 2)` the regions' centres `y, x`, fractions of the original
            image, as predicted: not those of boxes clipped to the image.
        region_scores: `(n, K, L)`.

    Returns:
        `(score, pairs)`: the share of hits, NaN where there are no pairs, and their
        number.
    """
    labels, centres = np.asarray(labels), np.asarray(centres)
    region_scores = np.asarray(region_scores)
    images, count = labels.shape
    regions = centres.shape[1]
    if (
        len(split_boxes) != images
        or len(label_names) != count
        or centres.shape != (images, regions, 2)
        or region_scores.shape != (images, regions, count)
    ):
        raise ValueError(
            "Boxes, names, labels, centres and region scores disagree. Expected n "
            "dicts, L names, (n, L), (n, K, 2) and (n, K, L). Received: "
            f"{len(split_boxes)} dicts, {len(label_names)} names, {labels.shape}, "
            f"{centres.shape} and {region_scores.shape}"
        )
    best = region_scores.argmax(1)  # (n, L)
    points = np.take_along_axis(centres, best[..., None], 1)
    return hit_rate(split_boxes, labels, label_names, points)


def hit_rate(split_boxes, labels, label_names, points):
    """How often a label's point lies on an object of that label.

    Args:
        split_boxes: See `pointing_score`, and there which pairs are counted.
        labels: `(n, L)` 1, 0 or -1.
        label_names: The `L` names in the order of the columns.
        points: `(n, L, 2)` `y, x`, fractions of the original image: one for each label.

    Returns:
        `(rate, pairs)`: the share of hits, NaN where there are no pairs, and their
        number.
    """
    hits = []
    for image, label in np.argwhere(labels > 0):
        boxes = split_boxes[image].get(label_names[label])
        if boxes is None or not len(boxes):
            continue
        boxes, point = np.asarray(boxes), points[image, label]
        inside = (boxes[:, :2] <= point) & (point <= boxes[:, 2:])  # (m, 2)
        hits.append(inside.all(1).any())
    return (float(np.mean(hits)) if hits else float("nan")), len(hits)


def derangement(count, seed=0):
    """Gives each of several images another one, each of them once.

    Args:
        count: How many images.
        seed: Of the draw; the same seed gives the same.

    Returns:
        `(count,)` integers in [0, count), none in its own place.

    Raises:
        ValueError: There are fewer than two.
    """
    if count < 2:
        raise ValueError(
            f"One image has no other. Expected two or more. Received: {count}"
        )
    # All in one circle, and each is given its neighbour.
    circle = np.random.default_rng(seed).permutation(count)
    others = np.empty_like(circle)
    others[circle] = np.roll(circle, 1)
    return others


def shuffled_pointing_score(split_boxes, labels, label_names, centres, region_scores):
    """The pointing score, had each image the regions of another one.

    The pairs are those of `pointing_score`, and so is the region that speaks for each;
    but it lies where the same region lies on another image of the split (see
    `derangement`). What this loses to the pointing score is what regions gain by going
    where this image asks for: fixed places lose nothing, and neither do places that
    move by chance.

    Args:
        split_boxes: See `pointing_score`, as all others.
        labels: `(n, L)`.
        label_names: The `L` names.
        centres: `(n, K, 2)`.
        region_scores: `(n, K, L)`.

    Returns:
        The share of hits; NaN where there are no pairs, or no other image.
    """
    centres = np.asarray(centres)
    if len(centres) < 2:
        return float("nan")
    centres = centres[derangement(len(centres))]
    score, _ = pointing_score(split_boxes, labels, label_names, centres, region_scores)
    return score


def spreads(centres):
    """How far each region moves from image to image.

    Args:
        centres: `(n, K, 2)` the regions' centres `y, x`, not clipped to the image.

    Returns:
        `(K,)` the root of the mean of the variances of y and of x over the images, in
        the unit of the centres; NaN without images. Exactly 0 for a fixed place.
    """
    centres = np.asarray(centres, "float64")
    if not len(centres):
        return np.full(centres.shape[1], np.nan)
    # Counted from the first image, since the mean of equal numbers may be rounded.
    return np.sqrt((centres - centres[0]).var(0).mean(-1))


def region_spread(centres):
    """How far regions move from image to image, averaged over the regions.

    Regions around one location have its centre, so that of RARL's T k regions the
    average is that over its T locations.

    Args:
        centres: See `spreads`.

    Returns:
        The mean of `spreads`, a float.
    """
    return float(spreads(centres).mean())


def region_iou(boxes):
    """How much the regions of an image overlap: their mean pairwise IoU.

    Args:
        boxes: `(n, K, 4)` `ymin, xmin, ymax, xmax`. A box without area overlaps
            nothing.

    Returns:
        The mean over images of the mean over an image's K (K - 1) / 2 pairs, in
        [0, 1]; NaN for K = 1 or without images.
    """
    boxes = np.asarray(boxes, "float64")
    first, second = np.triu_indices(boxes.shape[1], 1)
    if not len(first) or not len(boxes):
        return float("nan")
    area = np.prod(np.maximum(0, boxes[..., 2:] - boxes[..., :2]), -1)  # (n, K)
    low = np.maximum(boxes[:, first, :2], boxes[:, second, :2])
    high = np.minimum(boxes[:, first, 2:], boxes[:, second, 2:])
    shared = np.prod(np.maximum(0, high - low), -1)  # (n, pairs)
    union = area[:, first] + area[:, second] - shared
    overlap = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return float(overlap.mean())
