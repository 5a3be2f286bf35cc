"""Learns where each label is wont to lie, before step 2 trains everything (ours).

The images that step 1 has learnt from cannot teach it: step 1 knows their labels
without looking for them. So regions of the untouched backbone's features are scored by
linear probes, each of images that its probe has not seen, and the prior is fitted to
these scores. docs/experiments.md tells what that gives.
"""

import math

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from tqdm import tqdm

from ram_tf import backbones, linear_probe, losses
from ram_tf.preprocessing import evaluation_pipeline
from ram_tf.spatial_prior import terms
from ram_tf.spatial_transformer import sample_region

FOLDS = 3
MAX_IMAGES = 5000
# RARL's regions are of nine sizes and lie where its policy says: its prior is fitted to
# as many regions, of such a size, as RDAR begins with in the preset.
NUM_REGIONS, SCALE = 9, 0.4
SMOOTHNESS = 0.3  # of the maximum over the regions: without it one region learns
PENALTY = 0.03


def start(model, split, settings):
    """Puts a fitted prior into a model that has none yet.

    Args:
        model: An `AttentionModel` with a spatial prior.
        split: What to learn from; its images are looked at in the centre crop.
        settings: The `Config`.
    """
    if len(split) > MAX_IMAGES:
        chosen = np.random.default_rng(settings.seed).permutation(len(split))
        split = split.take(np.sort(chosen[:MAX_IMAGES]))
    count, scale = NUM_REGIONS, SCALE
    if settings.model == "rdar":
        count, scale = settings.regions, settings.start_scale
    theta = [(scale, scale, *centre) for centre in losses.starting_centres(count)]
    theta = np.array(theta, "float32")
    whole, regions = _features(theta, split, settings)
    whole, regions = held_out_scores(
        whole, regions, split.labels, settings.probe_cost, settings.seed
    )
    region_terms = terms(theta).numpy()
    if settings.flip:
        # What is left in one image is right in its mirror image.
        region_terms[:, 0] = 0.0
    kernel = fit(whole, regions, split.labels, region_terms, settings.context)
    # As `RegionLSTM.start_as` weighs what a region says.
    weight = 1.0 - settings.context
    bias = weight * level(regions, region_terms @ kernel)
    model.attention.spatial_prior.set_weights([weight * kernel, bias])


def held_out_scores(whole, regions, labels, cost, seed=0):
    """Scores images and their regions by probes that have not seen them.

    Args:
        whole: `(n, D)` features of whole images.
        regions: `(n, R, D)` features of their regions.
        labels: `(n, L)` 1, 0 or -1.
        cost: C of the probes, see `linear_probe.fit`.
        seed: Of the division into folds.

    Returns:
        Scores `(n, L)` of the whole images and `(n, R, L)` of their regions.
    """
    fold = np.random.default_rng(seed).permutation(len(whole)) % FOLDS
    scored = [
        np.zeros((*features.shape[:-1], labels.shape[1]), "float32")
        for features in (whole, regions)
    ]
    for number in range(FOLDS):
        others, held_out = fold != number, fold == number
        kernel, bias = linear_probe.fit(whole[others], labels[others], cost)
        for scores, features in zip(scored, (whole, regions), strict=True):
            scores[held_out] = features[held_out] @ kernel + bias
    return scored


def fit(whole, regions, labels, region_terms, context):
    """Fits what places say to the scores of images that were not learnt from.

    It minimises the binary cross-entropy of `exp(a) * (context * whole + (1 - context)
    * max_r (regions + region_terms @ kernel)) + b` with a smooth maximum. The scale
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
    known = tf.cast(labels >= 0, tf.float64)
    targets = tf.cast(labels > 0, tf.float64)
    whole, regions, region_terms = (
        tf.constant(values, tf.float64) for values in (whole, regions, region_terms)
    )

    @tf.function(autograph=False)
    def loss(variables):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            kernel, log_scale, shift = tf.split(variables, sizes)
            said = tf.matmul(region_terms, tf.reshape(kernel, [-1, count]))
            best = SMOOTHNESS * tf.reduce_logsumexp((regions + said) / SMOOTHNESS, 1)
            scores = context * whole + (1.0 - context) * best
            scores = tf.exp(log_scale) * scores + shift
            errors = tf.nn.sigmoid_cross_entropy_with_logits(targets, scores)
            value = tf.reduce_sum(known * errors)
            value += PENALTY * tf.reduce_sum(tf.square(said))
            value += tf.reduce_sum(tf.square(shift))
        return value, tape.gradient(value, variables)

    def value_and_slope(variables):
        value, slope = loss(tf.constant(variables))
        return float(value), slope.numpy()

    found = minimize(value_and_slope, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B")
    return found.x[: sizes[0]].reshape(-1, count).astype("float32")


def level(regions, said):
    """The bias with which the best region of an image scores no more on average.

    Args:
        regions: `(n, R, L)` scores of regions.
        said: `(R, L)` what a prior without bias adds to them.

    Returns:
        `(L,)`.
    """
    best, raised = regions.max(1), (regions + said).max(1)
    return (best - raised).mean(0)


def _features(theta, split, settings):
    """The untouched backbone's features `(n, D)`, and `(n, R, D)` at the regions."""
    backbone = backbones.build(settings.backbone, settings.weights)
    edge = (settings.region_size,) * 2

    @tf.function(autograph=False, reduce_retracing=True)
    def look(images):
        features = backbone(images)
        batch = tf.shape(features)[0]
        regions = sample_region(features, tf.tile(theta[None], [batch, 1, 1]), edge)
        return tf.reduce_mean(features, [1, 2]), tf.reduce_mean(regions, [2, 3])

    size = settings.batch_size
    batches = evaluation_pipeline(
        split, [settings.image_size], settings.crop, size, settings.max_pixels
    )
    total = math.ceil(len(split) / size)
    seen = [
        look(images)
        for (images,) in tqdm(batches, "placing", total, unit="batch", leave=False)
    ]
    return [np.concatenate(part) for part in zip(*seen, strict=True)]
