"""What a result is judged by: NumPy arrays in, floats out.

Labels are 1 present, 0 absent, -1 unknown. An unknown entry is left out as if that
image had not been asked for that label.
"""

import numpy as np


def average_precision(labels, scores, interpolation="none"):
    """The average precision of each label over the images.

    Images are sorted by descending score; equal scores keep the order of the images.

    Args:
        labels: `(n, L)` 1, 0 or -1; an image whose label is unknown is left out of that
            label's ranking.
        scores: `(n, L)`, higher means more probable.
        interpolation: `"none"`, the mean of the precisions at each positive, as
            ML-GCN, ASL and CSRA compute it; `"voc2010"`, the area under the curve made
            monotone, as of VOC 2010; `"voc2007"`, the mean of its values at the
            recalls 0, 0.1, ..., 1.

    Returns:
        `(L,)` float64 in [0, 1], NaN where a label has no positive.

    Example:
        >>> labels = np.array([[1], [0], [1]])
        >>> float(average_precision(labels, np.array([[0.9], [0.5], [0.5]]))[0])
        0.8333333333333333
    """
    rules = {
        "none": _uninterpolated,
        "voc2010": _area_under_curve,
        "voc2007": _eleven_points,
    }
    if interpolation not in rules:
        raise ValueError(
            f"Unknown interpolation. Expected one of: {list(rules)}. "
            f"Received: interpolation={interpolation!r}"
        )
    labels, scores = _checked(labels, scores)
    result = np.full(labels.shape[1], np.nan)
    for index in range(labels.shape[1]):
        known = labels[:, index] >= 0
        order = np.argsort(-scores[known, index], kind="stable")
        positive = labels[known, index][order] > 0
        if positive.any():
            result[index] = rules[interpolation](positive)
    return result


def mean_average_precision(labels, scores, interpolation="none", min_positives=1):
    """The mean of `average_precision` over the labels (mAP).

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores: `(n, L)`.
        interpolation: See `average_precision`.
        min_positives: Labels with fewer positives are left out; at least 1.

    Returns:
        A float in [0, 1], NaN where no label has enough positives.
    """
    labels, scores = _checked(labels, scores)
    counted = (labels > 0).sum(0) >= max(1, min_positives)
    if not counted.any():
        return float("nan")
    precisions = average_precision(
        labels[:, counted], scores[:, counted], interpolation
    )
    return float(precisions.mean())


def precision_recall_f1(labels, scores, threshold=0.5, top_k=None):
    """Overall and per-class precision, recall and F1 (Eq. 15).

    A label is predicted where its score reaches the threshold and, with `top_k`, is
    among the k highest of its image as well. Only known labels compete for these k
    places, and of equal scores the earlier label takes the place (ours). With
    `threshold=-np.inf` every image gets exactly k labels.

    A label that is never predicted has precision 0 and is counted. A label without any
    positive has no recall and is left out of CP and CR (ours); its predictions are
    wrong ones to OP all the same.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are left out.
        scores: `(n, L)`, on the scale of the threshold.
        threshold: Lowest score that is a prediction.
        top_k: Most predictions per image, at least 1; None for no limit.

    Returns:
        A dict of the floats `OP OR OF1 CP CR CF1`, where CF1 is the harmonic mean of
        CP and CR as in Eq. 15, not the mean of the labels' F1. All are NaN where
        nothing is present.
    """
    labels, scores = _checked(labels, scores)
    if top_k is not None and top_k < 1:
        raise ValueError(
            f"Invalid `top_k`. Expected None or at least 1. Received: top_k={top_k}"
        )
    known = labels >= 0
    predicted = known & (scores >= threshold)
    if top_k is not None:
        order = np.argsort(-np.where(known, scores, -np.inf), axis=1, kind="stable")
        rank = np.argsort(order, axis=1)
        predicted &= rank < top_k
    correct = (predicted & (labels > 0)).sum(0)
    predictions, positives = predicted.sum(0), (labels > 0).sum(0)
    counted = positives > 0
    if not counted.any():
        return dict.fromkeys(("OP", "OR", "OF1", "CP", "CR", "CF1"), float("nan"))
    overall_precision = correct.sum() / max(1, predictions.sum())
    overall_recall = correct.sum() / positives.sum()
    class_precision = (correct / np.maximum(1, predictions))[counted].mean()
    class_recall = (correct[counted] / positives[counted]).mean()
    return {
        "OP": float(overall_precision),
        "OR": float(overall_recall),
        "OF1": _harmonic_mean(overall_precision, overall_recall),
        "CP": float(class_precision),
        "CR": float(class_recall),
        "CF1": _harmonic_mean(class_precision, class_recall),
    }


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
    hits = []
    for image, label in np.argwhere(labels > 0):
        boxes = split_boxes[image].get(label_names[label])
        if boxes is None or not len(boxes):
            continue
        boxes, centre = np.asarray(boxes), centres[image, best[image, label]]
        inside = (boxes[:, :2] <= centre) & (centre <= boxes[:, 2:])  # (m, 2)
        hits.append(inside.all(1).any())
    return (float(np.mean(hits)) if hits else float("nan")), len(hits)


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


def paired_bootstrap(
    labels, scores_a, scores_b, min_positives=10, samples=2000, seed=0
):
    """How sure it is that `b` ranks better than `a`: images drawn again and again.

    Both are judged on the same draws, so that what makes an image hard for both does
    not widen the interval.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores_a: `(n, L)`.
        scores_b: `(n, L)`.
        min_positives: Labels with fewer positives in `labels` are left out of every
            draw. A label that a draw leaves without positives is left out of that draw.
        samples: Number of draws of n images with replacement.
        seed: Of the draws.

    Returns:
        A dict of floats: `difference`, mAP(b) - mAP(a) on the images as they are (no
        interpolation); `low` and `high`, the 95 % percentile interval of the draws;
        `share_above_zero`, the share of draws in which b is ahead. All are NaN where no
        label has enough positives.
    """
    labels, scores_a = _checked(labels, scores_a)
    _, scores_b = _checked(labels, scores_b)
    counted = (labels > 0).sum(0) >= max(1, min_positives)
    if not counted.any():
        names = ("difference", "low", "high", "share_above_zero")
        return dict.fromkeys(names, float("nan"))
    labels = labels[:, counted]
    scores_a, scores_b = scores_a[:, counted], scores_b[:, counted]
    generator = np.random.default_rng(seed)
    images = len(labels)
    # A few million counts at a time keep COCO's 40,000 images within memory.
    chunk = max(1, 4_000_000 // images)
    differences = []
    for start in range(0, samples, chunk):
        size = min(chunk, samples - start)
        draws = generator.multinomial(images, np.full(images, 1 / images), size)
        draws = draws.astype("int32")
        differences.append(
            _redrawn_precision(labels, scores_b, draws)
            - _redrawn_precision(labels, scores_a, draws)
        )
    differences = np.concatenate(differences)
    low, high = np.percentile(differences, [2.5, 97.5])
    before = average_precision(labels, scores_a).mean()
    after = average_precision(labels, scores_b).mean()
    return {
        "difference": float(after - before),
        "low": float(low),
        "high": float(high),
        "share_above_zero": float((differences > 0).mean()),
    }


def _redrawn_precision(labels, scores, draws):
    """The mAP of each draw; `(samples, n)` `draws` counts how often an image came."""
    total, labels_seen = np.zeros(len(draws)), np.zeros(len(draws))
    for index in range(labels.shape[1]):
        known = np.flatnonzero(labels[:, index] >= 0)
        order = known[np.argsort(-scores[known, index], kind="stable")]
        positive = np.flatnonzero(labels[order, index] > 0)
        drawn = draws[:, order]  # (samples, known)
        copies = drawn[:, positive]  # (samples, positives)
        ranked = np.cumsum(drawn, 1)[:, positive] - copies
        found = np.cumsum(copies, 1) - copies
        precision = np.zeros(len(draws))
        # The copies of an image stand one after another in the ranking.
        for copy in range(1, copies.max(initial=0) + 1):
            at_copy = (found + copy) / (ranked + copy)
            precision += np.where(copies >= copy, at_copy, 0).sum(1)
        count = copies.sum(1)
        total += np.where(count > 0, precision / np.maximum(1, count), 0)
        labels_seen += count > 0
    return total / np.maximum(1, labels_seen)


def _uninterpolated(positive):
    ranks = np.flatnonzero(positive) + 1
    return (np.arange(1, len(ranks) + 1) / ranks).mean()


def _area_under_curve(positive):
    # Recall moves at positives only, so the area is a mean over them.
    return _best_precision_from(positive)[positive].mean()


def _eleven_points(positive):
    best, found = _best_precision_from(positive), np.cumsum(positive)
    # In whole numbers: 3 of 10 positives are a recall of 0.3, but 3 * 0.1 > 0.3.
    reached = [np.argmax(10 * found >= tenth * found[-1]) for tenth in range(11)]
    return best[reached].mean()


def _best_precision_from(positive):
    """At each rank the highest precision at this or any later rank."""
    precision = np.cumsum(positive) / np.arange(1, len(positive) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def _harmonic_mean(precision, recall):
    both = precision + recall
    return float(2 * precision * recall / both) if both else 0.0


def _checked(labels, scores):
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(
            "Labels and scores do not belong together. Expected both of shape (n, L). "
            f"Received: labels of shape {labels.shape}, scores of shape {scores.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(
            "Scores that are no numbers cannot be ranked. Expected no NaN. Received: "
            f"{np.isnan(scores).sum()} NaN of {scores.size} scores"
        )
    return labels, scores
