"""Learns what regions say, before step 2 trains everything (ours).

A classifier of whole images knows a label by all that comes with it; a region is to be
known by what the label looks like. So two linear probes are fitted to the features of
the untouched backbone, one to whole images and one through the best region of each, as
Eq. 6 has it. What the second has more than the first is added to what step 1's
classifier says of regions. docs/experiments.md tells what that gives.
"""

import math

import numpy as np
import tensorflow as tf

from ram_tf import best_region, linear_probe


def start(model, features, settings):
    """Changes what the regions of a model say that starts as step 1's classifier.

    Args:
        model: An `AttentionModel`, started by `RegionLSTM.start_as` from a classifier
            without a hidden layer.
        features: `RegionFeatures` of what to learn from.
        settings: The `Config`.
    """
    whole, own = fit(features, settings.probe_cost, settings.context)
    model.attention.region_lstm.add_to_region_scores(
        *(after - before for after, before in zip(own, whole, strict=True))
    )


def fit(features, cost, context):
    """Fits a probe of whole images, and from there one of their regions.

    Each minimises the binary cross-entropy of its scores and a square penalty. The
    scores of the first are those of whole images. Those of the second are
    `context * whole + (1 - context) * max_r regions + b` with a soft maximum, where one
    kernel scores both: so it has to know the label in a whole image, too. Its loss is
    not convex; it ends in the minimum near the first probe. Its `b` is thrown away,
    since a model keeps step 1's bias, and one that levels takes its place.

    Args:
        features: `RegionFeatures`; unknown labels are left out.
        cost: C, as for `linear_probe.fit`.
        context: Share of the whole image in a score, in [0, 1].

    Returns:
        Kernel `(D, L)` and bias `(L,)`, float32, of the probe of whole images, and both
        of the one of regions, whose bias lets the best region of an image score as much
        as by the first on average. A label that is never or always present has a kernel
        of 0 and a bias that says so in both.
    """
    labels = features.labels
    present, absent = (labels == 1).sum(0), (labels == 0).sum(0)
    taught = np.where((present > 0) & (absent > 0), labels, -1)
    scale = linear_probe.root_mean_square(features.whole)
    # The bias makes up for the centre, which lets L-BFGS end several times as early.
    centre = features.whole.mean(0) / scale
    whole, regions = (
        part / scale - centre for part in (features.whole, features.regions)
    )
    shape = whole.shape[1], labels.shape[1]

    def unpack(variables):
        kernel, bias = tf.split(variables, [math.prod(shape), shape[1]])
        return tf.reshape(kernel, shape), bias

    def penalised(labels, scores, kernel):
        errors = best_region.cross_entropy(labels, scores)
        return cost * errors + tf.nn.l2_loss(kernel)

    def loss_of_whole(variables, labels, whole):
        kernel, bias = unpack(variables)
        return penalised(labels, _score(whole, kernel) + bias, kernel)

    def loss_of_regions(variables, labels, whole, regions):
        kernel, bias = unpack(variables)
        said = _score(whole, kernel), _score(regions, kernel)
        scores = best_region.scores(*said, context)
        return penalised(labels, scores + bias, kernel)

    # Log-odds of a share that is never quite 0 or 1 (Laplace).
    odds = np.log((present + 1) / (absent + 1))
    begin = np.concatenate([np.zeros(math.prod(shape)), odds])
    # Not by `linear_probe.fit`: what scikit-learn leaves undone would count as learnt.
    found = best_region.minimise(loss_of_whole, begin, taught, whole)
    moved = best_region.minimise(loss_of_regions, found, taught, whole, regions)
    before, bias = map(np.float32, unpack(found))
    after, _ = map(np.float32, unpack(moved))
    level = best_region.levelling_bias(regions @ before, regions @ after, labels)

    def of_features(kernel, bias):
        return kernel / scale, bias - centre @ kernel

    return of_features(before, bias), of_features(after, bias + np.float32(level))


def _score(features, kernel):
    """Scores of float32 features `(..., D)` by a float64 kernel `(D, L)`."""
    # Sums in float64 take twice the time and change nothing that can be seen.
    said = tf.tensordot(features, tf.cast(kernel, features.dtype), 1)
    return tf.cast(said, kernel.dtype)
