"""Learns where each label is wont to lie, before step 2 trains everything (ours).

Regions of the untouched backbone's features are scored by linear probes, each of images
that its probe has not seen, and the prior is fitted to these scores.
docs/experiments.md tells what that gives.
"""

import numpy as np
import tensorflow as tf

from ram_tf import best_region, linear_probe, region_probe
from ram_tf.spatial_prior import terms

FOLDS = 3
PENALTY = 0.03


def start(model, features, settings):
    """Puts a fitted prior into a model that has none yet.

    Args:
        model: An `AttentionModel` with a spatial prior.
        features: `RegionFeatures` of what to learn from.
        settings: The `Config`.
    """
    whole, regions = held_out_scores(features, settings)
    region_terms = terms(features.theta).numpy()
    if settings.flip:
        # What is left in one image is right in its mirror image.
        region_terms[:, 0] = 0.0
    kernel = fit(whole, regions, features.labels, region_terms, settings.context)
    # As `RegionLSTM.start_as` weighs what a region says.
    weight = 1.0 - settings.context
    raised = regions + region_terms @ kernel
    bias = weight * best_region.levelling_bias(regions, raised, features.labels)
    model.attention.spatial_prior.set_weights([weight * kernel, bias])


def held_out_scores(features, settings):
    """Scores images and their regions by probes that have not seen them.

    Args:
        features: `RegionFeatures` of `n` images, each with R regions.
        settings: The `Config`: whose seed divides them, and which says whether regions
            have a probe of their own.

    Returns:
        Scores `(n, L)` of the whole images and `(n, R, L)` of their regions.

    Raises:
        ValueError: There are fewer images than parts.
    """
    labels, cost = features.labels, settings.probe_cost
    if len(labels) < FOLDS:
        raise ValueError(
            "A spatial prior is fitted to images that its probes have not seen. "
            f"Expected {FOLDS} or more to train with. Received: {len(labels)}"
        )
    fold = np.random.default_rng(settings.seed).permutation(len(labels)) % FOLDS
    whole = np.zeros(labels.shape, "float32")
    regions = np.zeros((*features.regions.shape[:2], labels.shape[1]), "float32")
    for number in range(FOLDS):
        others, held_out = features.take(fold != number), fold == number
        if settings.region_probe:
            of_whole, of_regions = region_probe.fit(others, cost, settings.context)
        else:
            of_whole = of_regions = linear_probe.fit(others.whole, others.labels, cost)
        for scores, part, (kernel, bias) in (
            (whole, features.whole, of_whole),
            (regions, features.regions, of_regions),
        ):
            scores[held_out] = part[held_out] @ kernel + bias
    return whole, regions


def fit(whole, regions, labels, region_terms, context):
    """Fits what places say to the scores of images that were not learnt from.

    It minimises the binary cross-entropy of `exp(a) * (context * whole + (1 - context)
    * max_r (regions + region_terms @ kernel)) + b` with a soft maximum. The scale
    `exp(a)`, one for all labels, and the shift `b` of each label are left behind.

    Args:
        whole: `(n, L)` scores of whole images.
        regions: `(n, R, L)` scores of their regions.
        labels: `(n, L)` 1, 0 or -1; unknown ones are left out.
        region_terms: `(R, 4)` what `terms` says of the regions.
        context: Share of the whole image in a score, in [0, 1].

    Returns:
        The kernel `(4, L)` of a `SpatialPrior`, float32.
    """
    count = labels.shape[1]
    sizes = region_terms.shape[1] * count, 1, count
    whole, regions, region_terms = map(np.float64, (whole, regions, region_terms))

    def loss(variables, labels, whole, regions):
        kernel, log_scale, shift = tf.split(variables, sizes)
        said = tf.matmul(region_terms, tf.reshape(kernel, [-1, count]))
        scores = best_region.scores(whole, regions + said, context)
        scores = tf.exp(log_scale) * scores + shift
        value = best_region.cross_entropy(labels, scores)
        value += PENALTY * tf.reduce_sum(tf.square(said))
        return value + tf.reduce_sum(tf.square(shift))

    found = best_region.minimise(loss, np.zeros(sum(sizes)), labels, whole, regions)
    return found[: sizes[0]].reshape(-1, count).astype("float32")
