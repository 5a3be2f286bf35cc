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
    labels, scores = checked(labels, scores)
    result = np.full(labels.shape[1], np.nan)
    for index, positive in enumerate(_ranked(labels, scores)):
        if positive.any():
            result[index] = rules[interpolation](positive)
    return result


def precision_steps(labels, scores, monotone=False):
    """The precision at each positive of a label: the curve whose area is its AP.

    Drawn over recall as steps of equal width, one for each positive, their mean and so
    the area below them is the AP: without interpolation or, made monotone, that of VOC
    2010; the AP of VOC 2007 is read off the monotone curve at 11 recalls.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores: `(n, L)`.
        monotone: Whether a step is as high as the highest of those after it.

    Returns:
        A list of L float arrays, as long as the label has positives.
    """
    rule = _best_precision_from if monotone else _precisions
    ranked = _ranked(*checked(labels, scores))
    return [rule(positive)[positive] for positive in ranked]


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
    labels, scores = checked(labels, scores)
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
        threshold: Lowest score that is a prediction: a number, or `(L,)` one a label.
        top_k: Most predictions per image, at least 1; None for no limit.

    Returns:
        A dict of the floats `OP OR OF1 CP CR CF1`, where CF1 is the harmonic mean of
        CP and CR as in Eq. 15, not the mean of the labels' F1. All are NaN where
        nothing is present.
    """
    labels, scores = checked(labels, scores)
    predicted = predictions(labels, scores, threshold, top_k)
    correct = (predicted & (labels > 0)).sum(0)
    counts, positives = predicted.sum(0), (labels > 0).sum(0)
    counted = positives > 0
    if not counted.any():
        return dict.fromkeys(("OP", "OR", "OF1", "CP", "CR", "CF1"), float("nan"))
    overall_precision = correct.sum() / max(1, counts.sum())
    overall_recall = correct.sum() / positives.sum()
    class_precision = (correct / np.maximum(1, counts))[counted].mean()
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


def cooccurrence(labels):
    """Which labels come together: of the images with one, how many have the other.

    Given the labels of a split it says what the data teach, given predictions what the
    model has made of it.

    Args:
        labels: `(n, L)` 1, 0 or -1, or bool. An image where either label of a pair is
            unknown is left out of that pair.

    Returns:
        `(shares, counts)`, both `(L, L)`: at `[i, j]` the share of images with label j
        among those with label i, in [0, 1] and NaN where there are none; and the number
        of images with both, which is symmetric and has the labels' own on its diagonal.

    Example:
        >>> labels = np.array([[1, 1], [1, 0], [1, -1]])
        >>> shares, counts = cooccurrence(labels)
        >>> shares.tolist(), counts.tolist()
        ([[1.0, 0.5], [1.0, 1.0]], [[3, 1], [1, 1]])

        Predictions are comparable where nothing is predicted of unknown labels:

        >>> probabilities = np.array([[0.9, 0.8], [0.7, 0.6], [0.8, 0.9]])
        >>> predicted = np.where(labels < 0, -1, probabilities >= 0.5)
        >>> cooccurrence(predicted)[0].tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise ValueError(
            "Labels of images are a table. Expected shape (n, L). "
            f"Received: labels of shape {labels.shape}"
        )
    # As floats: NumPy multiplies matrices of whole numbers without BLAS.
    present, known = (labels > 0).astype("float64"), (labels >= 0).astype("float64")
    both, asked = present.T @ present, present.T @ known
    return ratio(both, asked), both.astype("int64")


def confusion(labels, predicted):
    """How often each label is rightly or wrongly predicted or not.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are in none of the counts.
        predicted: `(n, L)` bool.

    Returns:
        A dict of the `(L,)` counts of images `TP FP FN TN`: true or false, positive
        (predicted) or negative.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted, bool)
    present, absent = labels > 0, labels == 0
    return {
        "TP": (present & predicted).sum(0),
        "FP": (absent & predicted).sum(0),
        "FN": (present & ~predicted).sum(0),
        "TN": (absent & ~predicted).sum(0),
    }


def predicted_instead(labels, predicted):
    """Which labels are wrongly predicted where a present one is missed.

    Several labels of an image may be missed and several be wrong, and nothing says
    which stands for which. So every wrong label of an image is held against every
    missed one, and a row sums to anything.

    Args:
        labels: `(n, L)` 1, 0 or -1; what is unknown is neither missed nor wrong.
        predicted: `(n, L)` bool.

    Returns:
        `(shares, counts)`, both `(L, L)`: at `[i, j]`, of the images that have label i
        but are not given it, the share in [0, 1] and the number that are given label j
        without having it. A share is NaN where label i is never missed. Both are 0 on
        the diagonal.

    Example:
        >>> labels, predicted = [[1, 0], [1, 0]], [[False, True], [True, True]]
        >>> predicted_instead(labels, predicted)[0].tolist()
        [[0.0, 1.0], [nan, nan]]
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted, bool)
    missed = ((labels > 0) & ~predicted).astype("float64")
    wrong = ((labels == 0) & predicted).astype("float64")
    counts = missed.T @ wrong
    whole = np.broadcast_to(missed.sum(0)[:, None], counts.shape)
    return ratio(counts, whole), counts.astype("int64")


def predictions(labels, scores, threshold, top_k):
    """What `precision_recall_f1` counts as predicted: `(n, L)` bool."""
    if np.shape(threshold) not in ((), labels.shape[1:]):
        raise ValueError(
            "Thresholds do not belong to the labels. Expected a number or shape (L,) = "
            f"{labels.shape[1:]}. Received: shape {np.shape(threshold)}"
        )
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
    return predicted


def ratio(part, whole):
    """`part / whole` of two arrays, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _ranked(labels, scores):
    """Yields for each label whether the known images have it, the best score first."""
    for index in range(labels.shape[1]):
        known = labels[:, index] >= 0
        order = np.argsort(-scores[known, index], kind="stable")
        yield labels[known, index][order] > 0


def _uninterpolated(positive):
    return _precisions(positive)[positive].mean()


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
    return np.maximum.accumulate(_precisions(positive)[::-1])[::-1]


def _precisions(positive):
    """The precision at each rank."""
    return np.cumsum(positive) / np.arange(1, len(positive) + 1)


def _harmonic_mean(precision, recall):
    both = precision + recall
    return float(2 * precision * recall / both) if both else 0.0


def checked(labels, scores):
    """Takes labels and scores as arrays that belong together.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores: `(n, L)` numbers.

    Returns:
        Both as arrays, the scores float64.

    Raises:
        ValueError: Their shapes differ, or a score is NaN.
    """
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
