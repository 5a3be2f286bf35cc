"""Learns what regions say, before step 2 trains everything (ours).

A classifier of whole images is told of a label by all that comes with it, a classifier
of regions by what the label looks like. So a linear probe of the untouched backbone's
features is fitted through the best region of each image, as Eq. 6 has it, and what
changes in it by that is added to what step 1's classifier says of regions.
docs/experiments.md tells what that gives.
"""

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from ram_tf import linear_probe

SMOOTHNESS = 0.3  # of the maximum over the regions: without it one region learns
MAX_ITERATIONS = 100


def start(model, features, settings):
    """Changes what the regions of a model say that starts as step 1's classifier.

    Args:
        model: An `AttentionModel`, started by `RegionLSTM.start_as` from a classifier
            without a hidden layer.
        features: `RegionFeatures` of what to learn from.
        settings: The `Config`.
    """
    cost = settings.probe_cost
    known = linear_probe.fit(features.whole, features.labels, cost)
    learnt = fit(features, known, cost, settings.context)
    change = (after - before for after, before in zip(learnt, known, strict=True))
    model.attention.region_lstm.change_regions(*change)


def fit(features, classifier, cost, context):
    """Fits a classifier of regions through the best region of each image.

    It minimises the binary cross-entropy of `context * whole + (1 - context) * max_r
    regions` and a square penalty, where one kernel scores both.

    Args:
        features: `RegionFeatures`; unknown labels are left out.
        classifier: Kernel `(D, L)` and bias `(L,)` of a linear probe, as
            `linear_probe.fit` returns them, to begin with.
        cost: See `linear_probe.fit`.
        context: Share of the whole image in a score, in [0, 1].

    Returns:
        Kernel `(D, L)` and bias `(L,)` for regions, float32, at which the best region
        of an image scores as much as before on average. A label that is never or always
        present keeps its kernel of 0 and its bias.
    """
    labels = features.labels
    taught = (labels == 1).any(0) & (labels == 0).any(0)
    counted = tf.constant((labels >= 0) & taught, tf.float64)
    targets = tf.constant(labels > 0, tf.float64)
    scale = float(np.sqrt(np.mean(np.square(features.whole)))) or 1.0
    whole, regions = (
        tf.constant(part / scale, tf.float32)
        for part in (features.whole, features.regions)
    )
    kernel, bias = classifier
    shape = kernel.shape

    @tf.function(autograph=False)
    def loss(variables):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            kernel, bias = tf.split(variables, [shape[0] * shape[1], shape[1]])
            kernel = tf.reshape(kernel, shape)
            said = [
                tf.cast(tf.tensordot(part, tf.cast(kernel, part.dtype), 1), tf.float64)
                for part in (whole, regions)
            ]
            scores = context * said[0] + (1.0 - context) * smooth_maximum(said[1])
            errors = tf.nn.sigmoid_cross_entropy_with_logits(targets, scores + bias)
            value = cost * tf.reduce_sum(counted * errors)
            value += tf.nn.l2_loss(kernel)
        return value, tape.gradient(value, variables)

    def value_and_slope(variables):
        value, slope = loss(tf.constant(variables))
        return float(value), slope.numpy()

    begin = np.concatenate([(kernel * scale).ravel(), bias]).astype("float64")
    options = {"maxiter": MAX_ITERATIONS}
    found = minimize(
        value_and_slope, begin, jac=True, method="L-BFGS-B", options=options
    )
    learnt = found.x[: kernel.size].reshape(shape).astype("float32") / scale
    return learnt, bias + level(features.regions @ kernel, features.regions @ learnt)


def smooth_maximum(regions):
    """The soft maximum `(n, L)` of scores `(n, R, L)` of regions."""
    return SMOOTHNESS * tf.reduce_logsumexp(regions / SMOOTHNESS, 1)


def level(before, after):
    """The bias with which the best region of an image scores as before on average.

    Args:
        before: `(n, R, L)` scores of regions.
        after: The same with what has changed, without bias.

    Returns:
        `(L,)`.
    """
    return (before.max(1) - after.max(1)).mean(0)
