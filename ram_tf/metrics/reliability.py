"""How far probabilities keep what they promise."""

import numpy as np

from ram_tf.metrics import multi_label


def calibration_error(labels, probabilities, bins=15):
    """How far probabilities are from shares: the expected calibration error (ECE).

    The mean of |mean probability - share present| over the bins of `reliability_curve`,
    weighed by their counts. Most labels of most images are clearly absent, which makes
    it small: compare it on one split only. A softmax's probabilities sum to 1 however
    many labels are present, so that where images have several, none takes it to 0.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        bins: Number of bins, at least 1; 15 as in the source's tables.

    Returns:
        A float in [0, 1], NaN where no label is known.

    Raises:
        ValueError: An argument is out of range.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2,
        https://arxiv.org/abs/1706.04599; there of the most probable class alone.
    """
    mean, share, count = reliability_curve(labels, probabilities, bins)
    if not count.any():
        return float("nan")
    return float(np.nansum(np.abs(mean - share) * count) / count.sum())


def reliability_curve(labels, probabilities, bins=15):
    """What probabilities promise and what is there, over all known pairs.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        bins: Number of bins of equal width, at least 1; each with its upper end, the
            first with 0 as well.

    Returns:
        `(mean, share, count)`, each `(bins,)`: a bin's mean probability and the share
        of its pairs that are present, both NaN where it is empty, and how many pairs it
        has. The points `(mean, share)` of a calibrated model lie on the diagonal.

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
    """Takes labels and probabilities as arrays that belong together.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].

    Returns:
        Both as arrays, the probabilities float64.

    Raises:
        ValueError: As `multi_label.checked`; or a number is no probability.
    """
    labels, probabilities = multi_label.checked(labels, probabilities)
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        raise ValueError(
            "These are no probabilities. Expected numbers in [0, 1]. "
            f"Received: {probabilities[outside][0]}"
        )
    return labels, probabilities
