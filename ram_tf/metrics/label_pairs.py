"""Counts pairs of labels: which occur together, and which are confused.

Labels are 1 present, 0 absent, -1 unknown, as in `ram_tf.metrics.multi_label`.
"""

import numpy as np

from ram_tf.metrics.multi_label import ratio


def cooccurrence(labels):
    """Counts how often each pair of labels occurs in one image.

    Takes the labels of a split, or predictions to compare with them.

    Args:
        labels: `(n, L)` 1, 0 or -1, or bool. A pair leaves out the images where either
            of its labels is unknown.

    Returns:
        `(shares, counts)`, both `(L, L)`: at `[i, j]` the share of images with label j
        among those with label i, in [0, 1], NaN where there are none; and the number of
        images with both, which is symmetric, with each label's own count on the
        diagonal.

    Example:
        >>> labels = np.array([[1, 1], [1, 0], [1, -1]])
        >>> shares, counts = cooccurrence(labels)
        >>> shares.tolist(), counts.tolist()
        ([[1.0, 0.5], [1.0, 1.0]], [[3, 1], [1, 1]])

        To compare predictions with labels, mark unknown labels in both:

        >>> probabilities = np.array([[0.9, 0.8], [0.7, 0.6], [0.8, 0.9]])
        >>> predicted = np.where(labels < 0, -1, probabilities >= 0.5)
        >>> cooccurrence(predicted)[0].tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise ValueError(
            "Labels must be a table. Expected shape (n, L). "
            f"Received: labels of shape {labels.shape}"
        )
    # As floats, since NumPy multiplies integer matrices without BLAS.
    present, known = (labels > 0).astype("float64"), (labels >= 0).astype("float64")
    both, comparable = present.T @ present, present.T @ known
    return ratio(both, comparable), both.astype("int64")


def predicted_instead(labels, predicted):
    """Counts which labels are wrongly predicted in images where another is missed.

    Where an image has several missed and several wrong labels, each wrong one is
    counted with each missed one. The shares of a row therefore need not sum to 1.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are neither missed nor wrong.
        predicted: `(n, L)` bool.

    Returns:
        `(shares, counts)`, both `(L, L)`: at `[i, j]`, among the images with label i
        missed (a false negative), the share in [0, 1] and the number where label j is a
        false positive. A share is NaN where label i is never missed. Counts are 0 on
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
