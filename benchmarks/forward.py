"""Forward passes: what the model takes beside its backbone, and what others take.

All candidates look at the same batch of N x N images.

- `backbone`: the backbone alone.
- `model`: the whole model, one view: backbone, K regions, scores.
- `ten_views`: the paper's ten views, cut from the features of the image and its mirror.
- `ten_views_image`: the same ten views, each sent through the backbone.
- `proposals`: the way of HCP, which the paper is ten times faster than: 500 crops of an
  image, each resized to 224 x 224 as its networks take them, each through backbone and
  head. Eight are timed, and count as 8 / 500 of an image. Finding the proposals and
  cutting and resizing the crops is not counted, and the head is that of step 1, which
  has no fc7: the comparison is in favour of HCP.
- `proposals_shared`: 500 regions of each image cut from the features of the whole
  image, each through that head, fused by maximum. No target: no paper claims it.
- `recurrence`: the recurrent module on features that are there already; `sampling`, its
  K + 1 samplings with their pooling, and `w_fx`, its K + 1 products with W_fx, alone,
  turn by turn as the module has them (RARL: nine regions a turn).
  `share_rest` is what remains: LSTM, W_hz, the classifier, the next region.
"""

import statistics

import tensorflow as tf

from benchmarks.timing import Candidate, Figure
from ram_tf.models.attention.region_lstm import pool_region
from ram_tf.models.attention.spatial_transformer import sample_region
from ram_tf.runs import run_models

PROPOSALS = 500
TIMED = 8  # of them
HCP_CROP = 224  # pixels
AT_ONCE = 100  # proposals on shared features, which bounds memory

FIGURES = (
    Figure("model_over_backbone", "model", "backbone", at_most=1.15),
    Figure("ten_views_over_backbone", "ten_views", "backbone", at_most=2.6),
    Figure("ten_views_image_over_backbone", "ten_views_image", "backbone"),
    Figure("ten_views_image_over_shared", "ten_views_image", "ten_views", at_least=3),
    Figure("proposals_over_regions", "proposals", "model", at_least=10),
    Figure("proposals_shared_over_regions", "proposals_shared", "model"),
    Figure("share_sampling", "sampling", "recurrence", centre=statistics.mean),
    Figure("share_w_fx", "w_fx", "recurrence", centre=statistics.mean),
    Figure(
        "share_rest",
        "recurrence",
        "recurrence",
        less=("sampling", "w_fx"),
        centre=statistics.mean,
    ),
)


def candidates(subject):
    """The `Candidate`s of `FIGURES` by name."""
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
    """A function without arguments that runs `function` on these as a graph."""
    compiled = tf.function(function, autograph=False)
    return lambda: compiled(*arguments)


def boxes(batch, count=PROPOSALS):
    """Made-up theta of proposals, all inside the image: `(B, count, 4)`."""
    scale = tf.random.stateless_uniform([batch, count, 2], (0, 0), 0.1, 0.6)
    place = tf.random.stateless_uniform([batch, count, 2], (0, 1), -1.0, 1.0)
    return tf.concat([scale, place * (1.0 - scale)], -1)


def proposals_on_features(pooled):
    """Builds the function that scores many regions of each image by step 1's head.

    Args:
        pooled: A `PooledClassifier`.

    Returns:
        A function from images `(B, N, N, 3)` and theta `(B, P, 4)`, P a multiple of
        `AT_ONCE` or less than it, to scores `(B, L)`: the maximum over the regions.
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
    """Made-up theta of the whole map and of each turn: `(B, 1, 4)`, `(T, B, k, 4)`.

    A turn looks at one region, that of RARL at nine, here anywhere in the image.
    """
    together = attention.regions_a_step
    found = boxes(batch, attention.num_regions + 1)
    turns = tf.reshape(found[:, 1:], [batch, -1, together, 4])
    return found[:, :1], tf.transpose(turns, [1, 0, 2, 3])


def samplings(attention):
    """Builds the function from maps and `thetas` to the pooled regions of each turn."""

    def sample(maps, theta):
        regions = sample_region(maps, theta, attention.region_size)
        regions = tf.reshape(regions, [-1, *regions.shape[2:]])
        return pool_region(regions, attention.region_pooling)

    return lambda maps, whole, turns: (
        sample(maps, whole),
        _in_turn(attention, lambda theta: sample(maps, theta), turns),
    )


def inputs(attention, batch):
    """Made-up inputs of W_fx, whole map and turns: `(B, D)`, `(T, B k, D)`."""
    width = attention.region_lstm.feature.kernel.shape[0]
    shape = [attention.num_regions + 1, batch, width]
    drawn = tf.random.stateless_uniform(shape, (0, 2), dtype=attention.compute_dtype)
    rows = batch * attention.regions_a_step
    return drawn[0], tf.reshape(drawn[1:], [-1, rows, width])


def products(attention):
    """Builds the function from `inputs` to x of each turn (Eq. 3)."""
    multiply = attention.region_lstm.feature
    return lambda whole, turns: (
        multiply(whole),
        _in_turn(attention, multiply, turns),
    )


def _in_turn(attention, function, turns):
    return tf.map_fn(
        function,
        turns,
        parallel_iterations=1,
        fn_output_signature=attention.compute_dtype,
    )
