"""Linear models of the best region of each image (Eq. 6): what their fits share.

A maximum over regions passes gradients to one region alone, which then learns what it
began with. A soft maximum lets those learn, too, that score nearly as much.
"""

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

# Of the soft maximum, in units of a score: regions within it of the best one learn.
SMOOTHNESS = 0.3


def scores(whole, regions, context):
    """What an image scores of which a share comes from the whole of it.

    Args:
        whole: `(n, L)` scores of whole images.
        regions: `(n, R, L)` scores of their regions.
        context: Share of the whole image, in [0, 1].

    Returns:
        `(n, L)`: `context * whole + (1 - context) * max_r regions`, with a soft
        maximum, which is up to `SMOOTHNESS * log(R)` above the maximum.
    """
    best = SMOOTHNESS * tf.reduce_logsumexp(regions / SMOOTHNESS, 1)
    return context * whole + (1.0 - context) * best


def cross_entropy(labels, scores):
    """The binary cross-entropy, summed over what is known.

    Args:
        labels: `(n, L)` 1, 0 or -1 for unknown.
        scores: `(n, L)`.

    Returns:
        A scalar.
    """
    present = tf.cast(labels > 0, scores.dtype)
    errors = tf.nn.sigmoid_cross_entropy_with_logits(present, scores)
    return tf.reduce_sum(tf.cast(labels >= 0, scores.dtype) * errors)


def minimise(loss, start, *data):
    """Minimises a loss with SciPy's L-BFGS, to its tolerance of 2e-9 of the loss.

    Args:
        loss: A function of a float64 vector and of `data` that gives a scalar.
        start: The vector to begin with.
        *data: Tensors or arrays. They are arguments, since what a graph has captured
            stays in memory until the garbage collector finds the graph.

    Returns:
        The vector, a float64 array.
    """
    data = [tf.constant(values) for values in data]

    @tf.function(autograph=False)
    def value_and_slope(variables, *data):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = loss(variables, *data)
        return value, tape.gradient(value, variables)

    def evaluate(variables):
        value, slope = value_and_slope(tf.constant(variables), *data)
        return float(value), slope.numpy()

    return minimize(evaluate, start, jac=True, method="L-BFGS-B").x


def levelling_bias(before, after, labels):
    """The bias with which the best region of an image scores as before on average.

    Args:
        before: `(n, R, L)` scores of regions.
        after: The same with what has changed.
        labels: `(n, L)`, -1 where a label is unknown and does not count.

    Returns:
        `(L,)`.
    """
    known = labels >= 0
    fall = before.max(1) - after.max(1)
    return (fall * known).sum(0) / np.maximum(known.sum(0), 1)
