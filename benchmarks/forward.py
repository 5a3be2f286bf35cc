"""Compares forward passes: the model with its backbone, and with other methods.

All candidates process the same batch of N x N images.

- `backbone`: the backbone alone.
- `model`: the whole model, one view: backbone, K regions, scores.
- `ten_views`: the paper's ten views, cropped from the feature maps of the image and its
  mirror image.
- `ten_views_image`: the same ten views, each processed by the backbone.
- `proposals`: HCP, which the paper claims to be ten times faster than: 500 crops of an
  image, resized to 224 x 224 as its networks expect, each processed by backbone and
  head. Eight are timed, and count as 8 / 500 of an image. Finding the proposals and
  cropping and resizing are not counted, and the head is that of step 1, which has no
  fc7: the comparison favours HCP.
- `proposals_shared`: 500 regions of each image, cropped from the feature map of the
  image, each scored by that head, fused by maximum. No target: no paper claims one.
- `recurrence`: the recurrent module on given feature maps; `sampling`, its K + 1
  samplings with pooling, and `w_fx`, its K + 1 products with W_fx, are timed alone,
  step by step as in the module (RARL: nine regions per step). `share_rest` is the
  remainder: LSTM, W_hz, the classifier and the next region.
"""

import statistics

import tensorflow as tf

from benchmarks.timing import Candidate, Ratio
from ram_tf.models.attention.region_lstm import pool_region
from ram_tf.models.attention.spatial_transformer import sample_region
from ram_tf.runs import run_models

PROPOSALS = 500
TIMED = 8  # of the proposals
HCP_CROP = 224  # pixels
AT_ONCE = 100  # proposals scored together on shared features, to bound memory

RATIOS = (
    Ratio("model_over_backbone", "model", "backbone", at_most=1.15),
    Ratio("ten_views_over_backbone", "ten_views", "backbone", at_most=2.6),
    Ratio("ten_views_image_over_backbone", "ten_views_image", "backbone"),
    Ratio("ten_views_image_over_shared", "ten_views_image", "ten_views", at_least=3),
    Ratio("proposals_over_regions", "proposals", "model", at_least=10),
    Ratio("proposals_shared_over_regions", "proposals_shared", "model"),
    Ratio("share_sampling", "sampling", "recurrence", centre=statistics.mean),
    Ratio("share_w_fx", "w_fx", "recurrence", centre=statistics.mean),
    Ratio(
        "share_rest",
        "recurrence",
        "recurrence",
        less=("sampling", "w_fx"),
        centre=statistics.mean,
    ),
)


def candidates(subject):
    """Builds the `Candidate`s of `RATIOS`, by name."""
    model, pooled, batch = subject.model, subject.build_pooled(), subject.batch
    images = subject.images(subject.settings.image.image_size)
    crops = tf.image.resize(images[:1], (HCP_CROP,) * 2)
    crops = tf.repeat(crops, TIMED, 0)
    views = {
        source: run_models.view(subject.run, model, count=10, source=source)
        for source in ("features", "image")
    }
    maps = model.backbone(images)
    return {
        "backbone": Candidate(graph(model.backbone, images), batch),
        "model": Candidate(graph(model, images), batch),
        "ten_views": Candidate(graph(views["features"], (images,)), batch),
        "ten_views_image": Candidate(graph(views["image"], (images,)), batch),
        "proposals": Candidate(graph(pooled, crops), TIMED / PROPOSALS),
        "proposals_shared": Candidate(
            graph(proposals_on_features(pooled), images, boxes(batch)), batch
        ),
        "recurrence": Candidate(graph(model.attention, maps), batch),
        "sampling": Candidate(
            graph(samplings(model.attention), maps, *thetas(model.attention, batch)),
            batch,
        ),
        "w_fx": Candidate(
            graph(products(model.attention), *inputs(model.attention, batch)), batch
        ),
    }


def graph(function, *arguments):
    """Builds a function without arguments that runs `function` as a graph."""
    compiled = tf.function(function, autograph=False)
    return lambda: compiled(*arguments)


def boxes(batch, count=PROPOSALS):
    """Draws random theta of proposals inside the image, `(B, count, 4)`."""
    scale = tf.random.stateless_uniform([batch, count, 2], (0, 0), 0.1, 0.6)
    place = tf.random.stateless_uniform([batch, count, 2], (0, 1), -1.0, 1.0)
    return tf.concat([scale, place * (1.0 - scale)], -1)


def proposals_on_features(pooled):
    """Builds a function that scores many regions of each image with step 1's head.

    Args:
        pooled: A `PooledClassifier`.

    Returns:
        A function from images `(B, N, N, 3)` and theta `(B, P, 4)`, where P is a
        multiple of `AT_ONCE` or less than it, to the maximum scores `(B, L)`.
    """

    def score(features, theta):
        regions = sample_region(features[None], theta[None], pooled.region_size)[0]
        x = pool_region(regions, pooled.pooling)
        x = pooled.feature(x) if pooled.feature else x
        return tf.reduce_max(pooled.classifier(x), 0)

    def scores(images, theta):
        features = pooled.backbone(images)
        parts = max(1, theta.shape[1] // AT_ONCE)
        flat = tf.reshape(theta, [theta.shape[0] * parts, -1, 4])
        owners = tf.repeat(tf.range(theta.shape[0]), parts)
        fused = tf.map_fn(
            lambda part: score(tf.gather(features, part[0]), part[1]),
            (owners, flat),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )
        return tf.reduce_max(tf.reshape(fused, [theta.shape[0], parts, -1]), 1)

    return scores


def thetas(attention, batch):
    """Draws random theta of the whole map `(B, 1, 4)` and the steps `(T, B, k, 4)`.

    The k regions of a step (1, or 9 with RARL) lie anywhere in the image.
    """
    theta = boxes(batch, attention.num_regions + 1)
    steps = tf.reshape(theta[:, 1:], [batch, -1, attention.regions_a_step, 4])
    return theta[:, :1], tf.transpose(steps, [1, 0, 2, 3])


def samplings(attention):
    """Builds a function from maps and `thetas` to each step's pooled regions."""

    def sample(maps, theta):
        regions = sample_region(maps, theta, attention.region_size)
        regions = tf.reshape(regions, [-1, *regions.shape[2:]])
        return pool_region(regions, attention.region_pooling)

    return lambda maps, whole, steps: (
        sample(maps, whole),
        _step_by_step(attention, lambda theta: sample(maps, theta), steps),
    )


def inputs(attention, batch):
    """Draws random inputs of W_fx: whole map `(B, D)`, steps `(T, B k, D)`."""
    width = attention.region_lstm.feature.kernel.shape[0]
    shape = [attention.num_regions + 1, batch, width]
    drawn = tf.random.stateless_uniform(shape, (0, 2), dtype=attention.compute_dtype)
    rows = batch * attention.regions_a_step
    return drawn[0], tf.reshape(drawn[1:], [-1, rows, width])


def products(attention):
    """Builds a function from `inputs` to x of each step (Eq. 3)."""
    multiply = attention.region_lstm.feature
    return lambda whole, steps: (
        multiply(whole),
        _step_by_step(attention, multiply, steps),
    )


def _step_by_step(attention, function, steps):
    return tf.map_fn(
        function,
        steps,
        parallel_iterations=1,
        fn_output_signature=attention.compute_dtype,
    )
