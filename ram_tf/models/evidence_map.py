"""The evidence map: which cells support each label of a linear classifier.

It is the baseline that regions are compared with: a class activation map (Zhou et al.,
Learning Deep Features for Discriminative Localization, CVPR 2016), which needs no
training beyond step 1.
"""

import tensorflow as tf

# How `points` are computed. It is part of cache keys: change it whenever `points`
# changes, so that cached points are not reused.
METHOD = "best mean of 3x3 cells, half-pixel centres"


def cell_centres(cells):
    """Returns where the cells of a feature map lie: cell j of n at (j + 1/2) / n.

    A backbone whose cells are shifted against its image would need that shift here.

    Args:
        cells: n, the number of cells along an axis, an int or a scalar tensor.

    Returns:
        `(n,)` float32 in (0, 1): fractions of the backbone's input.
    """
    count = tf.cast(cells, tf.float32)
    return (tf.range(count) + 0.5) / count


def mean_of_neighbours(maps):
    """Averages cells of `(B, H, W, C)` with those of their 8 neighbours that exist."""
    # At the border, TensorFlow averages over the cells inside the map only.
    return tf.nn.avg_pool2d(maps, 3, 1, "SAME")


def first_largest(values):
    """Returns the first index of the largest value: `(..., n)` to `(...)` int32."""
    # tf.argmax does not specify which of several equal values it returns.
    count = tf.shape(values)[-1]
    smaller = values < tf.reduce_max(values, -1, keepdims=True)
    return tf.reduce_min(tf.where(smaller, count, tf.range(count)), -1)


def points(scores):
    """Finds the cell with the strongest evidence for each label.

    The evidence in a cell is the mean score of the cell and of those of its eight
    neighbours that exist. Of equal cells the first in row-major order is taken.

    Args:
        scores: `(B, H, W, L)` float32: the classifier's score of each cell. A bias
            makes no difference.

    Returns:
        `(B, L, 2)` float32 `y, x`: the centre of the best cell, as fractions of the
        backbone's input.
    """
    evidence = mean_of_neighbours(scores)
    shape = tf.shape(evidence)
    height, width = (evidence.shape[i] or shape[i] for i in (1, 2))
    cells = height * width
    flat = tf.reshape(evidence, [-1, cells, evidence.shape[-1]])
    best = first_largest(tf.transpose(flat, [0, 2, 1]))  # (B, L)
    y = tf.gather(cell_centres(height), best // width)
    x = tf.gather(cell_centres(width), best % width)
    return tf.stack([y, x], -1)
