"""Where a linear classifier of pooled features sees what it names: its evidence map.

The baseline that regions are held against: a class activation map (Zhou et al.,
Learning Deep Features for Discriminative Localization, CVPR 2016), for which nothing
beyond step 1 is trained.
"""

import tensorflow as tf

# What points mean, and in the keys of what is kept: whoever moves them changes it, and
# is not given the points of before.
HOW = "best mean of 3x3 cells, half-pixel centres"


def cell_centres(cells):
    """Where the cells of a feature map lie: cell j of n at (j + 1/2) / n.

    This is the one place that says so; a backbone whose cells are shifted against its
    image would have that shift added here.

    Args:
        cells: n, the number of cells along an axis, an int or a scalar tensor.

    Returns:
        `(n,)` float32 in (0, 1): fractions of what the backbone saw.
    """
    count = tf.cast(cells, tf.float32)
    return (tf.range(count) + 0.5) / count


def mean_of_neighbours(maps):
    """The mean of each cell and of those of its eight neighbours that exist.

    Args:
        maps: `(B, H, W, C)` of any float type.

    Returns:
        `(B, H, W, C)`.
    """
    # TensorFlow averages a window that overhangs over the cells inside alone.
    return tf.nn.avg_pool2d(maps, 3, 1, "SAME")


def first_largest(values):
    """The index of the largest value along the last axis, the first of equal ones.

    Args:
        values: `(..., n)` of any float type.

    Returns:
        `(...)` int32.
    """
    # tf.argmax does not promise which of equal ones it takes.
    count = tf.shape(values)[-1]
    smaller = values < tf.reduce_max(values, -1, keepdims=True)
    return tf.reduce_min(tf.where(smaller, count, tf.range(count)), -1)


def points(scores):
    """The place of each label's strongest evidence.

    The evidence in a cell is the mean score of the cell and of those of its eight
    neighbours that exist; of equal cells the first one counts, line by line.

    Args:
        scores: `(B, H, W, L)` float32: what the classifier says of each cell. A bias
            changes nothing.

    Returns:
        `(B, L, 2)` float32 `y, x`: the centre of the best cell, as fractions of what
        the backbone saw.
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
