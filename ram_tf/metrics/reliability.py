"""Measures how well probabilities are calibrated."""

import numpy as np

from ram_tf.metrics import multi_label


def calibration_error(labels, probabilities, bins=15):
    """Computes the expected calibration error (ECE).

    It is the mean of |mean probability - share present| over the bins of
    `reliability_curve`, weighted by their counts. Compare it on one split only: it is
    small where most labels of most images are clearly absent. A softmax cannot reach 0
    where images have several labels, since its probabilities sum to 1.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        bins: Number of bins, at least 1; 15 as in the reference's tables.

    Returns:
        A float in [0, 1], NaN where no label is known.

    Raises:
        ValueError: An argument is out of range.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2,
        https://arxiv.org/abs/1706.04599; there only for the most probable class.
    """
    mean, share, count = reliability_curve(labels, probabilities, bins)
    if not count.any():
        return float("nan")
    return float(np.nansum(np.abs(mean - share) * count) / count.sum())


def reliability_curve(labels, probabilities, bins=15):
    """Compares mean probability and share present in bins, over all known pairs.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        bins: Number of bins of equal width, at least 1. Each includes its upper end,
            the first also 0.

    Returns:
        `(mean, share, count)`, each `(bins,)`: the mean probability and the share
        present of a bin's (image, label) pairs, both NaN where it is empty, and their
        number. The points `(mean, share)` of a calibrated model lie on the diagonal.

    Raises:
        ValueError: An argument is out of range.
    """
    labels, probabilities = checked(labels, probabilities)
    if bins < 1:
        raise ValueError(f"Invalid `bins`. Expected at least 1. Received: bins={bins}")
    known = labels >= 0
    probability, present = probabilities[known], labels[known] > 0
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probability)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 of empty bins
        mean = np.bincount(place, probability, bins) / count
        share = np.bincount(place, present, bins) / count
    return mean, share, count


def checked(labels, probabilities):
    """Converts labels and probabilities to arrays and checks them.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].

    Returns:
        Both as arrays, the probabilities float64.

    Raises:
        ValueError: As `multi_label.checked`, or a probability is not in [0, 1].
    """
    labels, probabilities = multi_label.checked(labels, probabilities)
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        raise ValueError(
            "Probabilities are out of range. Expected numbers in [0, 1]. "
            f"Received: {probabilities[outside][0]}"
        )
    return labels, probabilities
