"""Average precision, precision, recall and F1 of multi-label predictions.

Labels are 1 present, 0 absent, -1 unknown. Unknown entries are left out.
"""

import numpy as np


def average_precision(labels, scores, interpolation="none"):
    """Computes the average precision (AP) of each label over the images.

    Images are sorted by descending score; equal scores keep the order of the images.

    Args:
        labels: `(n, L)` 1, 0 or -1; a label's ranking leaves out its unknown images.
        scores: `(n, L)`, higher means more probable.
        interpolation: `"none"`, the mean of the precisions at each positive (ML-GCN,
            ASL, CSRA); `"voc2010"`, the area under the monotone precision-recall curve
            (VOC since 2010); `"voc2007"`, the mean of that curve's values at the
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
    """Returns the precision-recall curve of each label as steps of equal width.

    There is one step for each positive. Their mean, the area under the curve, is the AP
    without interpolation or, with `monotone`, the AP of VOC 2010. The AP of VOC 2007
    takes the values of the monotone curve at 11 recalls.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores: `(n, L)`.
        monotone: Whether each step is raised to the highest of the later ones.

    Returns:
        A list of L float arrays: the precision at each positive of the label.
    """
    rule = _best_precision_from if monotone else _precisions
    ranked = _ranked(*checked(labels, scores))
    return [rule(positive)[positive] for positive in ranked]


def mean_average_precision(labels, scores, interpolation="none", min_positives=1):
    """Computes the mean of `average_precision` over the labels (mAP).

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
    """Computes overall and per-class precision, recall and F1 (Eq. 15).

    A label is predicted if its score is at least the threshold and, with `top_k`, also
    among the k highest of its image. Only known labels count among these k, and ties go
    to the earlier label (ours). With `threshold=-np.inf` every image gets k labels.

    A label that is never predicted counts with precision 0. A label without positives
    has no recall and is left out of CP and CR (ours), but its predictions lower OP.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are left out.
        scores: `(n, L)`, on the scale of the threshold.
        threshold: Lowest score that counts as a prediction: a number, or `(L,)`.
        top_k: Most predictions per image, at least 1; None for no limit.

    Returns:
        A dict of the floats `OP OR OF1 CP CR CF1`. CF1 is the harmonic mean of CP and
        CR as in Eq. 15, not the mean of the labels' F1. All are NaN without positives.
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


def confusion(labels, predicted):
    """Counts true and false positives and negatives of each label.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are not counted.
        predicted: `(n, L)` bool.

    Returns:
        A dict of the `(L,)` counts of images `TP FP FN TN`.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted, bool)
    present, absent = labels > 0, labels == 0
    return {
        "TP": (present & predicted).sum(0),
        "FP": (absent & predicted).sum(0),
        "FN": (present & ~predicted).sum(0),
        "TN": (absent & ~predicted).sum(0),
    }


def predictions(labels, scores, threshold, top_k):
    """Returns which labels `precision_recall_f1` counts as predicted: `(n, L)` bool."""
    if np.shape(threshold) not in ((), labels.shape[1:]):
        raise ValueError(
            "The thresholds do not fit the labels. Expected a number or shape (L,) = "
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
    """Divides two arrays: `part / whole`, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _ranked(labels, scores):
    """Yields per label whether the known images have it, by descending score."""
    for index in range(labels.shape[1]):
        known = labels[:, index] >= 0
        order = np.argsort(-scores[known, index], kind="stable")
        yield labels[known, index][order] > 0


def _uninterpolated(positive):
    return _precisions(positive)[positive].mean()


def _area_under_curve(positive):
    # Recall only changes at positives, so the area is a mean over them.
    return _best_precision_from(positive)[positive].mean()


def _eleven_points(positive):
    best, found = _best_precision_from(positive), np.cumsum(positive)
    # In integers, since in floats 3 * 0.1 > 0.3, the recall of 3 of 10 positives.
    reached = [np.argmax(10 * found >= tenth * found[-1]) for tenth in range(11)]
    return best[reached].mean()


def _best_precision_from(positive):
    """Returns at each rank the highest precision at this or any later rank."""
    return np.maximum.accumulate(_precisions(positive)[::-1])[::-1]


def _precisions(positive):
    """Returns the precision at each rank."""
    return np.cumsum(positive) / np.arange(1, len(positive) + 1)


def _harmonic_mean(precision, recall):
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def checked(labels, scores):
    """Converts labels and scores to arrays and checks them.

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
            "Labels and scores differ in shape. Expected both of shape (n, L). "
            f"Received: labels of shape {labels.shape}, scores of shape {scores.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(
            "Scores contain NaN and cannot be ranked. Expected no NaN. Received: "
            f"{np.isnan(scores).sum()} NaN of {scores.size} scores"
        )
    return labels, scores
