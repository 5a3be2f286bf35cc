"""Tests how views of an image are cut and fused, against plain loops."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.data.images.resizing import centre_crop
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.choices import DESCRIPTIONS
from ram_tf.models.multi_view import (
    MultiView,
    ScaledModel,
    cut_features,
    cut_images,
    offsets,
    one_by_one,
)
from ram_tf.models.networks import RDAR
from ram_tf.models.objectives import Objective

LABELS, STRIDE = 3, 4
# The centre crop starts after one cell, the corner crops after none and two.
SIZE, CROP = 24, 16


def make_model(seed=0, loss="bce", regions=2):
    """Its backbone processes each cell separately, so cutting commutes with it."""
    backbone = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.AveragePooling2D(STRIDE),
            keras.layers.Conv2D(5, 1, activation="relu"),
        ],
        name="backbone",
    )
    attention = RecurrentMemorizedAttention(
        LABELS, regions, 8, region_size=(4, 4), region_pooling="max"
    )
    model = RDAR(backbone, attention, Objective(loss), CROP / SIZE)
    model(np.zeros((1, CROP, CROP, 3), "float32"))
    # Every view has other regions, so that swapped views are detected.
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.3, variable.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def other_model():
    return make_model(seed=1)


def images_of(size, count=2):
    shape = (count, size, size, 3)
    return np.random.default_rng(size).uniform(0, 255, shape).astype("float32")


IMAGES = images_of(SIZE)


def view_of(model, **views):
    return MultiView([ScaledModel(model, SIZE, CROP, STRIDE)], **views)


def assert_same(actual, expected, atol=1e-6):
    assert set(actual) == set(expected)
    for name in expected:
        np.testing.assert_allclose(
            actual[name], expected[name], atol=atol, err_msg=name
        )


def test_one_view_from_the_image_is_the_plain_model_on_its_centre_crop(model):
    expected = model(centre_crop(IMAGES, CROP))
    assert_same(view_of(model)((IMAGES,)), expected)


def test_boxes_are_fractions_of_the_whole_image_at_any_size(model):
    images = images_of(32)
    actual = MultiView([ScaledModel(model, 32, 24, STRIDE)])((images,))
    regions = model(centre_crop(images, 24))["regions"].numpy()
    scale, centre = np.abs(regions[:, :, [1, 0], [1, 0]]), regions[:, :, ::-1, 2]
    # -1 and 1 are the borders of the crop, which starts at 4 of 32 pixels.
    first, last = ((edge * 12 + 16) / 32 for edge in (centre - scale, centre + scale))
    expected = np.concatenate([first, last], -1).clip(0, 1)
    np.testing.assert_allclose(actual["boxes"], expected, atol=1e-6)


def test_crops_are_the_centre_and_the_four_corners_in_order():
    # Section 5.1 with N = 512, as (top, left).
    five = [(32, 32), (0, 0), (0, 64), (64, 0), (64, 64)]
    assert offsets(512, 448, 5) == five
    assert offsets(512, 448, 1) == five[:1]


def test_crops_of_an_image_by_hand():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    corners = [[5, 6, 9, 10], [0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13]]
    expected = [*corners, [10, 11, 14, 15]]
    actual = cut_images(image, 4, 2, 5)
    np.testing.assert_array_equal(np.reshape(actual, (5, 4)), expected)


def test_features_cut_on_the_borders_of_cells_are_those_of_the_crop(model):
    actual = cut_features(model.backbone(IMAGES), SIZE, CROP, STRIDE, 5)
    crops = cut_images(IMAGES, SIZE, CROP, 5)
    for place in range(5):
        expected = model.backbone(crops[:, place])
        np.testing.assert_allclose(actual[:, place], expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 10])
def test_views_from_features_are_those_from_the_image(model, count):
    actual, expected = (
        view_of(model, count=count, source=source, describe="z")((IMAGES,))
        for source in ("features", "image")
    )
    assert_same(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "batches"),
    [
        pytest.param(
            "image", [(2, CROP, CROP, 3)] * 10, id="a batch of crops at a time"
        ),
        # Section 5.1: the whole image once and its mirror image once.
        pytest.param(
            "features", [(2, SIZE, SIZE, 3)] * 2, id="whole images, once each"
        ),
    ],
)
def test_the_backbone_processes_these_batches_and_attention_runs_once(
    model, source, batches
):
    shapes = {"backbone": [], "attention": []}

    class Recorder(keras.layers.Layer):
        """A part of the model that records the shapes of its inputs."""

        given_regions = False

        def __init__(self, name):
            super().__init__(name=name)
            self.part = getattr(model, name)

        def call(self, inputs, **kwargs):
            shapes[self.name].append(tuple(inputs.shape))
            return self.part(inputs, **kwargs)

    recorder = RDAR(Recorder("backbone"), Recorder("attention"), model.objective)
    outputs = view_of(recorder, count=10, source=source)((IMAGES,))
    assert shapes["backbone"] == batches
    assert [rows for rows, *_ in shapes["attention"]] == [2 * 10]
    assert_same(outputs, view_of(model, count=10, source=source)((IMAGES,)))


def test_a_graph_contains_the_backbone_once_for_all_views_from_the_image(model):
    convolutions = []
    for count in (1, 10):
        view = view_of(model, count=count)
        graph = tf.function(view, autograph=False).get_concrete_function((IMAGES,))
        nodes = [node.op for node in graph.graph.as_graph_def().node]
        for function in graph.graph.as_graph_def().library.function:
            nodes += [node.op for node in function.node_def]
        convolutions.append(nodes.count("Conv2D"))
    assert convolutions == [1, 1]


def test_half_precision_goes_through_the_backbone_one_view_after_another():
    layer = keras.layers.Conv2D(4, 1, dtype="mixed_bfloat16")
    layer.build((None, None, None, 3))
    views = cut_images(IMAGES, SIZE, CROP, 5)
    maps = one_by_one(layer, views)
    assert maps.dtype == tf.bfloat16
    assert maps.shape == (2, 5, CROP, CROP, 4)


def ramp(cells):
    """Makes a map whose channels are the column and the row of each cell."""
    columns, rows = np.meshgrid(np.arange(cells), np.arange(cells))
    return np.stack([columns, rows], -1)[None].astype("float32")


def test_crops_between_cells_are_interpolated_on_a_ramp():
    # 20 of 24 pixels are 5 of 6 cells; the centre starts after half a cell.
    views = cut_features(ramp(6), 24, 20, 4, 5)[0]
    expected = np.concatenate([ramp(5) + first for first in (0.5, 0)])
    np.testing.assert_allclose(views[:2], expected, atol=1e-5)
    # Columns start from 1 at the top right, rows start from 1 at the bottom left.
    for view, first in ((2, np.array([1, 0])), (3, np.array([0, 1])), (4, 1)):
        np.testing.assert_allclose(views[view], (ramp(5) + first)[0], atol=1e-5)


def mirrored(images):
    return images[:, :, ::-1]


@pytest.mark.parametrize("source", ["features", "image"])
def test_ten_views_are_the_five_of_the_image_and_of_its_mirror(model, source):
    five = view_of(model, count=5, source=source, describe="x")
    ten = view_of(model, count=10, source=source, describe="x")((IMAGES,))
    here, there = five((IMAGES,)), five((mirrored(IMAGES),))
    for name in ("scores", "description"):
        expected = (here[name] + there[name]) / 2
        np.testing.assert_allclose(ten[name], expected, atol=1e-5)


@pytest.mark.parametrize("source", ["features", "image"])
def test_ten_views_of_an_image_and_of_its_mirror_score_the_same(model, source):
    view = view_of(model, count=10, source=source, describe="x")
    here, there = view((IMAGES,)), view((mirrored(IMAGES),))
    for name in ("scores", "probabilities", "description"):
        np.testing.assert_allclose(here[name], there[name], atol=1e-5)
    assert np.abs(here["regions"] - there["regions"]).max() > 1e-3


@pytest.mark.parametrize("source", ["features", "image"])
def test_images_of_a_batch_do_not_affect_each_other(model, source):
    view = view_of(model, count=10, source=source, describe="z")
    together = view((IMAGES,))
    alone = [view((IMAGES[i : i + 1],)) for i in range(2)]
    joined = {name: np.concatenate([a[name] for a in alone]) for name in together}
    assert_same(together, joined, atol=1e-5)


@pytest.mark.parametrize("source", ["features", "image"])
@pytest.mark.parametrize("describe", [None, *DESCRIPTIONS])
def test_a_graph_of_unknown_batch_size_gives_the_same(model, describe, source):
    view = view_of(model, count=10, source=source, describe=describe)
    graph = tf.function(
        view, [(tf.TensorSpec([None, SIZE, SIZE, 3]),)], autograph=False
    )
    for images in (IMAGES, IMAGES[:1]):
        assert_same(graph((images,)), view((images,)), atol=1e-5)


@pytest.mark.parametrize("source", ["features", "image"])
def test_one_region_is_enough(source):
    view = view_of(make_model(regions=1), count=10, source=source, describe="z")
    outputs = view((IMAGES,))
    assert outputs["region_scores"].shape == (2, 1, LABELS)
    assert outputs["description"].shape == (2, 8)


def test_all_views_of_a_map_of_one_cell_are_that_cell(model):
    images = images_of(STRIDE)
    member = ScaledModel(model, STRIDE, STRIDE, STRIDE)
    ten = MultiView([member], count=10, source="features")((images,))
    whole = model.attend(model.backbone(images))
    np.testing.assert_allclose(ten["scores"], whole["scores"], atol=1e-5)


def predict_by_loops(members, images, describe):
    """Runs the whole model on one view after another.

    Returns:
        Scores `(B, L)` and descriptions `(B, D)`, lists by member.
    """
    scores, descriptions = [], []
    for (model, size, crop, *_), batch in zip(members, images, strict=True):
        places = [0, size - crop]
        middle = (size - crop) // 2
        corners = [(middle, middle), *itertools.product(places, places)]
        outputs = [
            model.attend(
                model.backbone(side[:, y : y + crop, x : x + crop]), describe=describe
            )
            for side in (batch, mirrored(batch))
            for y, x in corners
        ]
        by_view = [o["region_scores"].numpy().max(1) for o in outputs]
        scores.append(np.mean(by_view, 0))
        by_view = [o["descriptions"].numpy().max(1) for o in outputs]
        descriptions.append(np.mean(by_view, 0))
    return scores, descriptions


# Not the training size; its crops start on the borders of cells, too.
LARGE, LARGE_CROP = 32, 16


@pytest.mark.parametrize("source", ["features", "image"])
@pytest.mark.parametrize("describe", DESCRIPTIONS)
def test_scales_of_one_model_are_averaged(model, describe, source):
    members = [
        ScaledModel(model, SIZE, CROP, STRIDE),
        ScaledModel(model, LARGE, LARGE_CROP, STRIDE),
    ]
    images = IMAGES, images_of(LARGE)
    outputs = MultiView(members, 10, source, describe)(images)
    scores, descriptions = predict_by_loops(members, images, describe)
    np.testing.assert_allclose(outputs["scores"], np.mean(scores, 0), atol=1e-5)
    expected = np.mean(descriptions, 0)
    np.testing.assert_allclose(outputs["description"], expected, atol=1e-5)


@pytest.mark.parametrize("source", ["features", "image"])
def test_descriptions_of_several_models_are_concatenated(model, other_model, source):
    members = [
        ScaledModel(model, SIZE, CROP, STRIDE),
        ScaledModel(other_model, LARGE, LARGE_CROP, STRIDE),
    ]
    images = IMAGES, images_of(LARGE)
    outputs = MultiView(members, 10, source, "z")(images)
    scores, descriptions = predict_by_loops(members, images, "z")
    np.testing.assert_allclose(outputs["scores"], np.mean(scores, 0), atol=1e-5)
    expected = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in descriptions]
    np.testing.assert_allclose(
        outputs["description"], np.concatenate(expected, 1), atol=1e-5
    )


def test_regions_are_those_of_the_first_members_centre_view(model, other_model):
    members = [
        ScaledModel(model, SIZE, CROP, STRIDE),
        ScaledModel(other_model, LARGE, LARGE_CROP, STRIDE),
    ]
    outputs = MultiView(members, 10, "image")((IMAGES, images_of(LARGE)))
    expected = model(centre_crop(IMAGES, CROP))
    for name in ("regions", "boxes", "region_scores"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)


@pytest.mark.parametrize("loss", ["bce", "euclidean"])
def test_scores_become_probabilities_after_they_are_averaged(loss):
    outputs = view_of(make_model(loss=loss), count=5)((IMAGES,))
    scores = outputs["scores"].numpy()
    expected = 1 / (1 + np.exp(-scores))
    if loss == "euclidean":
        expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)


def test_about_lists_the_options_that_affect_the_outputs(model, other_model):
    view = view_of(model, count=5, source="features", describe="x")
    other = MultiView([ScaledModel(other_model, LARGE, LARGE_CROP, STRIDE)])
    joint = view.joined_with(other)
    assert joint.about == {
        "views": 5,
        "views_from": "features",
        "scales": [SIZE, LARGE],
        "crops": [CROP, LARGE_CROP],
        "describe": "x",
        "models": 2,
    }
    assert joint.sizes == (SIZE, LARGE)
    assert joint.models == (model, other_model)
    assert view.joined_with(view).models == (model,)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"count": 4}, r"count of \(1, 5, 10\).*count=4"),
        ({"source": "video"}, r"source of \('features', 'image'\).*source='video'"),
        ({"describe": "y"}, r"one of \('pooled', 'x', 'z'\). Received: 'y'"),
    ],
)
def test_unknown_views_are_refused(model, views, message):
    with pytest.raises(ValueError, match=message):
        view_of(model, **views)
