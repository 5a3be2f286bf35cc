"""Benchmark candidates do the work that their names promise."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import (
    forward,
    input_pipeline,
    peers,
    photographs,
    saved_model,
    training_step,
)
from benchmarks.subject import Subject
from ram_tf.data.pipelines import training_pipeline
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.region_lstm import pool_region
from ram_tf.models.attention.spatial_transformer import sample_region
from ram_tf.models.networks import RDAR, PooledClassifier
from ram_tf.runs import run_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    return Subject.of(folder, "small", image_size=40, batch_size=2, passed=7)


@pytest.fixture(scope="module")
def forward_candidates(subject):
    return forward.candidates(subject)


def assert_same(actual, expected):
    tf.nest.map_structure(
        lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5), actual, expected
    )


@pytest.mark.parametrize(
    ("backbone", "sizes", "pooling", "units"),
    [
        ("vgg16", (512, 448), "flatten", 4096),
        ("mobilenet_v2", (320, 256), "average", 512),
    ],
)
def test_backbones_have_their_usual_settings(tmp_path, backbone, sizes, pooling, units):
    settings = Subject.of(tmp_path, backbone).settings
    assert (settings.image.image_size, settings.image.crop) == sizes
    assert (settings.attention.region_pooling, settings.attention.units) == (
        pooling,
        units,
    )
    assert (
        settings.training.batch_size,
        settings.attention.regions,
        settings.image.zooms,
    ) == (8, 5, "1")
    assert settings.model.weights == "none"


def test_backbone_and_model_process_the_same_whole_images(subject, forward_candidates):
    images = subject.images(40)
    assert images.shape == (2, 40, 40, 3)
    assert_same(forward_candidates["backbone"].run(), subject.model.backbone(images))
    assert_same(forward_candidates["model"].run(), subject.model(images))


@pytest.mark.parametrize(
    ("name", "source"), [("ten_views", "features"), ("ten_views_image", "image")]
)
def test_ten_views_are_those_of_the_evaluation(
    subject, forward_candidates, name, source
):
    view = run_models.view(subject.run, subject.model, count=10, source=source)
    assert view.about["views"] == 10
    assert_same(forward_candidates[name].run(), view((subject.images(40),)))


def test_eight_crops_of_224_pixels_count_as_eight_of_500(
    subject, forward_candidates, monkeypatch
):
    shapes = []
    call = PooledClassifier.call

    def record_shape(self, images, training=False):
        shapes.append(tuple(images.shape))
        return call(self, images, training)

    monkeypatch.setattr(PooledClassifier, "call", record_shape)
    proposals = forward.candidates(subject)["proposals"]
    shapes.clear()  # recorded while building
    assert proposals.run()["scores"].shape == (8, 20)
    assert shapes == [(8, 224, 224, 3)]
    assert proposals.images == 8 / 500
    others = {
        candidate.images
        for n, candidate in forward_candidates.items()
        if n != "proposals"
    }
    assert others == {2}


@pytest.mark.parametrize(("count", "at_once"), [(6, 3), (2, 100)])
@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_proposals_on_shared_features_are_fused_by_maximum(
    subject, monkeypatch, count, at_once, pooling
):
    monkeypatch.setattr(forward, "AT_ONCE", at_once)
    units = 5 if pooling == "flatten" else None
    backbone, objective = subject.model.backbone, subject.settings.objective
    pooled = PooledClassifier(backbone, 3, objective, pooling, units, (4, 4))
    images, theta = subject.images(40), forward.boxes(2, count)
    pooled(images)
    scores = forward.proposals_on_features(pooled)(images, theta)
    expected = []
    for k in range(count):
        x = sample_region(backbone(images), theta[:, k], (4, 4))
        x = pool_region(x, pooling)
        expected.append(pooled.classifier(pooled.feature(x) if units else x))
    np.testing.assert_allclose(scores, np.max(expected, 0), atol=1e-4)


def test_500_proposals_lie_inside_the_image(forward_candidates):
    theta = forward.boxes(3).numpy()
    assert theta.shape == (3, 500, 4)
    assert (theta[..., :2] > 0).all()
    assert (np.abs(theta[..., 2:]) + theta[..., :2] <= 1).all()
    assert forward_candidates["proposals_shared"].run().shape == (2, 20)


def test_the_recurrence_is_the_model_without_its_backbone(subject, forward_candidates):
    expected = subject.model(subject.images(40))["region_scores"]
    assert_same(forward_candidates["recurrence"].run()["region_scores"], expected)


def test_sampling_and_w_fx_take_the_whole_image_and_each_region(
    subject, forward_candidates
):
    attention = subject.model.attention
    maps = subject.model.backbone(subject.images(40))
    whole, steps = forward.thetas(attention, 2)
    assert (whole.shape, steps.shape) == ((2, 1, 4), (5, 2, 1, 4))

    def pooled(theta):
        regions = attention.spatial_transformer(maps, theta)
        return pool_region(regions, attention.region_pooling)

    expected = pooled(whole[:, 0]), tf.stack([pooled(theta[:, 0]) for theta in steps])
    assert_same(forward_candidates["sampling"].run(), expected)
    whole, steps = forward.inputs(attention, 2)
    assert (len(whole), len(steps)) == (2, 5)
    w_fx = attention.region_lstm.feature
    expected = w_fx(whole), tf.stack([w_fx(x) for x in steps])
    assert_same(forward_candidates["w_fx"].run(), expected)


def test_rarl_samples_and_multiplies_nine_regions_per_step(tmp_path):
    subject = Subject.of(tmp_path, "small", 40, batch_size=2, model="rarl")
    attention = subject.model.attention
    assert attention.num_regions == 45
    found = forward.candidates(subject)
    whole, steps = found["sampling"].run()
    assert (len(whole), steps.shape[:2]) == (2, (5, 2 * 9))
    # As in the module, the regions of an image are adjacent.
    maps = subject.model.backbone(subject.images(40))
    theta = forward.thetas(attention, 2)[1][3, 1, 4]
    region = sample_region(maps[1:], theta[None], attention.region_size)
    expected = pool_region(region, attention.region_pooling)[0]
    np.testing.assert_allclose(steps[3, 9 + 4], expected, atol=1e-5)
    whole, steps = found["w_fx"].run()
    assert (whole.shape, steps.shape) == ((2, 256), (5, 2 * 9, 256))
    assert found["recurrence"].run()["region_scores"].shape == (2, 45, 20)


def test_the_plain_map_yields_the_images_of_the_pipeline(subject):
    # Without margin and mirroring nothing is random.
    subject = subject.with_settings(crop_margin=0, flip=False)
    split = subject.split
    batches = training_pipeline(split, 40, 40, False, 7, range(1), 0)
    ((expected, _),) = batches
    images = np.stack([image.numpy() for image in input_pipeline.plain_map(subject)])

    def in_order(images):
        return images[np.argsort(images.sum((1, 2, 3)))]

    np.testing.assert_allclose(in_order(images), in_order(expected.numpy()), atol=1e-3)


def place_of(crop, whole):
    """Finds the corner of `crop` in `whole`, and whether it is mirrored."""
    for mirrored in (False, True):
        cut = crop[:, ::-1] if mirrored else crop
        windows = np.lib.stride_tricks.sliding_window_view(whole, cut.shape)
        distance = np.abs(windows - cut).max((-3, -2, -1))[..., 0]
        if distance.min() < 1e-3:
            return *np.unravel_index(distance.argmin(), distance.shape), mirrored
    return None


def test_the_plain_map_crops_and_mirrors(subject):
    uncut = subject.with_settings(crop_margin=0, flip=False)
    cut = subject.with_settings(crop_margin=8, flip=True)
    places = {
        place_of(crop.numpy(), whole.numpy())
        for crop, whole in zip(
            input_pipeline.plain_map(cut), input_pipeline.plain_map(uncut), strict=True
        )
    }
    assert None not in places
    assert len(places) > 2  # of seven images


def test_a_pass_counts_the_images_that_it_yields(subject):
    found = input_pipeline.candidates(subject)
    assert (found["functions"].run(), found["functions"].images) == (7, 7)
    # Three batches of two: the last image is dropped.
    assert (found["pipeline"].run(), found["pipeline"].images) == (3, 6)


def test_a_step_trains_the_whole_model_on_crops(subject):
    changed = subject.with_settings(seed=1)
    found = training_step.candidates(changed)
    assert {name: each.images for name, each in found.items()} == {
        "step": 2,
        "backbone_step": 2,
        "pipeline": 6,
    }
    model = changed.model
    before = [variable.numpy() for variable in model.trainable_variables]
    found["step"].run()
    moved = [
        np.any(v.numpy() != b)
        for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    # W_zm starts at zero, and so do the gradients that pass through it.
    assert np.mean(moved) > 0.9
    assert model.optimizer.iterations == 1


def test_a_backbone_step_has_the_gradients_of_its_weights(subject):
    backbone = subject.model.backbone
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(backbone(subject.images(32)))
    expected = tape.gradient(total, [v.value for v in backbone.trainable_variables])
    gradients = training_step.backbone_step(subject)()
    assert len(gradients) == len(backbone.trainable_variables) > 0
    for actual, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-2)


def test_a_step_in_bfloat16_differs_only_in_precision(subject, monkeypatch):
    monkeypatch.setattr(training_step, "step", lambda subject: subject)
    found = training_step.in_bfloat16(subject)
    assert found["step"].settings == subject.settings
    changed = found["step_bfloat16"]
    expected = subject.with_settings(precision="mixed_bfloat16").settings
    assert changed.settings == expected
    assert changed.model.attention.compute_dtype == "bfloat16"
    assert subject.model.attention.compute_dtype == "float32"
    assert not keras.config.dtype_policy().name.startswith("mixed")


@pytest.mark.slow
def test_xla_compiles_only_its_own_step(subject, monkeypatch):
    made, make = {}, RDAR.make_train_function

    def record_xla(model, force=False):
        make(model, force)
        if force:
            made[id(model.train_function)] = model.jit_compile

    monkeypatch.setattr(RDAR, "make_train_function", record_xla)
    fresh = subject.with_settings(seed=2)
    found = training_step.with_xla(fresh)
    used = []
    for name in (*found, *found):
        found[name].run()
        used.append(made[id(fresh.model.train_function)])
    assert [*found] == ["step", "step_xla"]
    assert used == [False, True] * 2
    assert fresh.model.optimizer.iterations == 4


def test_saved_model_and_keras_agree_on_the_same_photographs(subject):
    found = saved_model.candidates(subject)
    served, called = (found[name].run() for name in ("serving_default", "keras"))
    assert served["valid"].all()
    for name in ("scores", "boxes", "region_scores"):
        np.testing.assert_allclose(served[name], called[name], atol=1e-4)
    assert {candidate.images for candidate in found.values()} == {2}


def test_photographs_are_colour_jpegs_of_two_shapes(tmp_path):
    paths = photographs.write(tmp_path / "new", count=8)
    assert len({path.read_bytes() for path in paths}) == 8
    sizes = []
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert np.asarray(image).std() > 20
            sizes.append(image.size)
        # Those of VOC have 90 kB on average.
        assert 20_000 < path.stat().st_size < 200_000
    assert sizes == ([(500, 375)] * 3 + [(375, 500)]) * 2


def test_operations_of_the_recurrent_module_are_counted_by_hand():
    layer = RecurrentMemorizedAttention(5, 2, 3, (4, 6), "average")
    layer.build((None, 7, 8, 9))
    sampling = 4 * 7 * 8 * 9 + 4 * 6 * 8 * 9  # rows, then columns
    products = 9 * 3 + 3 * 12 + 3 * 12 + 3 * 3 + 3 * 5 + 3 * 4
    expected = 2 * 3 * (sampling + products)  # of the whole map and two regions
    assert peers.module_operations(layer, (None, 7, 8, 9)) == expected


def test_operations_of_the_network_are_those_of_its_convolutions(subject):
    images = subject.images(40)
    counted = peers.network_operations(subject.model, images)
    maps = subject.model.backbone(images).shape
    counted -= peers.module_operations(subject.model.attention, maps)
    products = 20 * 20 * (4 * 4 * 3 * 16 + 3 * 3 * 16 * 32)
    products += 10 * 10 * 3 * 3 * 32 * 64 + 5 * 5 * 64 * 128
    # The profiler also counts biases, scaling and the like.
    assert 2 * products <= counted <= 2.1 * products
