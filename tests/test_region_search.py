"""The search for regions: what moves them, what stays, and that they find something."""

import dataclasses

import keras
import numpy as np
import pytest
from small_run import SMALL

from ram_tf import losses, region_search, run_splits
from ram_tf.model import RDAR, Objective
from ram_tf.preprocessing import evaluation_pipeline
from ram_tf.recurrent_attention import RecurrentMemorizedAttention

STARTS = ((0.3, 0.3, 0.0, 0.0), (0.3, 0.3, 0.5, 0.5))


@pytest.fixture(scope="module")
def splits(squares):
    settings = dataclasses.replace(SMALL, dataset="csv", data_dir=str(squares))
    return run_splits.load(settings)


@pytest.fixture
def settings():
    return dataclasses.replace(
        SMALL,
        region_pooling="average",
        head_start="pooled",
        search_epochs=8,
        flip=False,
        crop_margin=0,
    )


def reader():
    """A model that reads colours already, one channel for each label."""
    backbone = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.AveragePooling2D(2),
        ],
        name="backbone",
    )
    attention = RecurrentMemorizedAttention(
        3, 2, 64, (4, 4), "average", layout_channels=4, starts=STARTS
    )
    model = RDAR(backbone, attention, Objective("bce"))
    model(np.zeros((1, 40, 40, 3), "float32"))
    # Blue is the last channel; the other two speak against a colour.
    kernel = np.eye(3)[::-1] * 8 - 4
    head = kernel.astype("float32"), np.full(3, -1.0, "float32")
    attention.region_lstm.start_as(head, context=0.3)
    return model


def score_of_present(model, split):
    """The mean score of the labels that are present."""
    ((images,),) = evaluation_pipeline(split, [40], 40, len(split))
    return model(images)["scores"].numpy()[split.labels > 0].mean()


def test_loss_by_hand_is_of_present_labels_and_anchors():
    labels = np.array([[1, 0, -1], [0, 0, 0], [1, 1, 0]])
    scores = np.array([[0.5, 9.0, 9.0], [9.0, 9.0, 9.0], [-1.0, 2.0, 9.0]], "float32")
    regions = np.zeros((3, 2, 2, 3), "float32")
    regions[:, 1, :, 2] = 0.25
    found = region_search.loss(labels, {"scores": scores, "regions": regions})
    first, *third = np.log1p(np.exp([-0.5, 1.0, -2.0]))
    anchored = losses.anchor_constraint(regions)
    expected = (first + 0 + np.mean(third)) / 3 + 0.05 * anchored
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_only_the_places_of_regions_are_moved(splits, settings):
    model = reader()
    before = [(v, v.numpy()) for v in model.variables]
    region_search.start(model, splits.train, settings)
    kernel, bias = model.attention.theta_variables
    for variable, value in before:
        same = variable.numpy() == value
        if variable is kernel or variable is bias:
            assert same[..., :2].all()
            assert not same[..., 2:].all()
        else:
            assert same.all(), variable.path


def test_regions_find_what_the_labels_are_read_from(splits, settings):
    model = reader()
    before = score_of_present(model, splits.selection)
    settings = dataclasses.replace(settings, search_epochs=30)
    region_search.start(model, splits.train, settings)
    after = score_of_present(model, splits.selection)
    assert after > before + 0.05


def test_the_same_seed_finds_the_same_regions(splits, settings):
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = reader()
        region_search.start(model, splits.train, settings)
        found.append(model.attention.location_bias.numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
