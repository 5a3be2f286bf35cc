"""Metrics of regions: whether they hit objects, and how much they differ."""

import numpy as np


def pointing_score(split_boxes, labels, label_names, centres, region_scores):
    """Computes how often a label's best region has its centre on such an object.

    Counts the (image, label) pairs whose label is present and has boxes. A pair is a
    hit if the centre of the region with the highest score for the label lies inside one
    of the label's boxes, borders included. Ties go to the earlier region. One region at
    (0.5, 0.5) gives the score of always pointing at the centre of the image.

    Args:
        split_boxes: Per image a dict from label name to `(m, 4)` `ymin, xmin, ymax,
            xmax`, fractions of the image (`Split.boxes`).
        labels: `(n, L)` 1, 0 or -1.
        label_names: The `L` names in the order of the columns.
        centres: `(n, K, 2)` centres `y, x` of the regions as fractions of the original
            image, before any clipping to the image.
        region_scores: `(n, K, L)`.

    Returns:
        `(score, pairs)`: the share of hits, NaN without pairs, and the number of pairs.
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
            "Boxes, names, labels, centres and scores differ in size. Expected n "
            "dicts, L names, (n, L), (n, K, 2) and (n, K, L). Received: "
            f"{len(split_boxes)} dicts, {len(label_names)} names, {labels.shape}, "
            f"{centres.shape} and {region_scores.shape}"
        )
    best = region_scores.argmax(1)  # (n, L)
    points = np.take_along_axis(centres, best[..., None], 1)
    return hit_rate(split_boxes, labels, label_names, points)


def hit_rate(split_boxes, labels, label_names, points):
    """Computes how often a label's point lies on an object of that label.

    Args:
        split_boxes: See `pointing_score`, which also defines the pairs.
        labels: `(n, L)` 1, 0 or -1.
        label_names: The `L` names in the order of the columns.
        points: `(n, L, 2)` one point `y, x` per label, fractions of the original image.

    Returns:
        `(rate, pairs)`: the share of hits, NaN without pairs, and the number of pairs.
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
    """Draws a permutation that leaves no element in its place.

    Args:
        count: Number of images.
        seed: Seed of the draw.

    Returns:
        `(count,)` integers in [0, count), none equal to its index.

    Raises:
        ValueError: There are fewer than two.
    """
    if count < 2:
        raise ValueError(
            f"Too few images to permute. Expected two or more. Received: {count}"
        )
    # One cycle through all images: each is mapped to its neighbour.
    circle = np.random.default_rng(seed).permutation(count)
    others = np.empty_like(circle)
    others[circle] = np.roll(circle, 1)
    return others


def shuffled_pointing_score(split_boxes, labels, label_names, centres, region_scores):
    """Computes the pointing score with the region centres of another image.

    Pairs and best regions are those of `pointing_score`, but each region's centre is
    taken from another image (see `derangement`). The difference to the pointing score
    is what regions gain by adapting to their image. It is 0 for fixed regions, and also
    for regions that move at random.

    Args:
        split_boxes: See `pointing_score`, as for all others.
        labels: `(n, L)`.
        label_names: The `L` names.
        centres: `(n, K, 2)`.
        region_scores: `(n, K, L)`.

    Returns:
        The share of hits, NaN without pairs or with fewer than two images.
    """
    centres = np.asarray(centres)
    if len(centres) < 2:
        return float("nan")
    centres = centres[derangement(len(centres))]
    score, _ = pointing_score(split_boxes, labels, label_names, centres, region_scores)
    return score


def spreads(centres):
    """Computes how far each region moves from image to image.

    Args:
        centres: `(n, K, 2)` centres `y, x` of the regions, not clipped to the image.

    Returns:
        `(K,)` the root of the mean of the variances of y and of x over the images, in
        the unit of the centres; NaN without images. Exactly 0 for a fixed region.
    """
    centres = np.asarray(centres, "float64")
    if not len(centres):
        return np.full(centres.shape[1], np.nan)
    # Relative to the first image, since the mean of equal floats may be rounded.
    return np.sqrt((centres - centres[0]).var(0).mean(-1))


def region_spread(centres):
    """Computes how far regions move from image to image, averaged over the regions.

    RARL's regions around one location share its centre, so their average equals the
    average over the T locations.

    Args:
        centres: See `spreads`.

    Returns:
        The mean of `spreads`, a float.
    """
    return float(spreads(centres).mean())


def region_iou(boxes):
    """Computes the mean pairwise IoU of the regions of an image.

    Args:
        boxes: `(n, K, 4)` `ymin, xmin, ymax, xmax`. A box without area has IoU 0.

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
