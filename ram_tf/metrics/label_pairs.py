"""Which labels come together, and which are predicted in place of which.

Labels are 1 present, 0 absent, -1 unknown, as in `ram_tf.metrics.multi_label`.
"""

import numpy as np

from ram_tf.metrics.multi_label import ratio


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
