"""What is seen of images and of regions where step 2 starts, and who may ask for it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from on_sides import ON_SIDES, make_model, make_split

from ram_tf import backbones, losses, presets, region_features
from ram_tf.preprocessing import prepare_image

SETTINGS = dataclasses.replace(ON_SIDES, image_size=48, crop_margin=16)


@pytest.fixture(scope="module")
def few():
    """One image of each set of labels."""
    split = make_split()
    _, firsts = np.unique(split.labels, axis=0, return_index=True)
    return split.take(np.sort(firsts))


def crops(split, settings):
    size = settings.image_size, settings.crop
    return tf.stack([prepare_image(encoded, *size) for encoded in split.images])


@pytest.mark.parametrize("pretrained", [False, True])
def test_whole_images_and_regions_are_seen_as_a_model_begins_to_see_them(
    few, tmp_path, pretrained
):
    settings = SETTINGS
    if pretrained:
        path = tmp_path / "small.weights.h5"
        keras.utils.set_random_seed(7)
        backbones.build("small", "none").layers[-1].save_weights(path)
        settings = dataclasses.replace(SETTINGS, weights=str(path))
    model = make_model(settings)
    features = model.backbone(crops(few, settings))
    attended = model.attention(features, describe="pooled")
    seen = region_features.look(few, settings)
    assert seen.regions.shape == (8, SETTINGS.regions, features.shape[-1])
    np.testing.assert_allclose(seen.regions, attended["descriptions"], rtol=1e-4)
    np.testing.assert_allclose(seen.whole, np.mean(features, (1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(seen.labels, few.labels)


def test_of_many_images_some_are_drawn(few, monkeypatch):
    monkeypatch.setattr(region_features, "MAX_IMAGES", 3)
    drawn = region_features.look(few, SETTINGS)
    assert drawn.whole.shape[0] == drawn.regions.shape[0] == 3
    monkeypatch.undo()
    every = region_features.look(few, SETTINGS)
    chosen = [np.abs(every.whole - whole).max(1).argmin() for whole in drawn.whole]
    assert chosen != [0, 1, 2]
    for name in ("whole", "regions", "labels"):
        np.testing.assert_allclose(
            getattr(drawn, name), getattr(every.take(chosen), name), rtol=1e-4
        )


def test_an_agent_is_shown_regions_of_the_preset(few):
    preset = presets.preset("photographs")
    seen = region_features.look(few, dataclasses.replace(SETTINGS, model="rarl"))
    expected = losses.starting_regions(preset["regions"], preset["start_scale"])
    np.testing.assert_allclose(seen.theta, expected, rtol=1e-6)


@pytest.mark.parametrize("learnt", ["region_probe", "spatial_prior"])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"probe_cost": 0.0}, "probe_cost"),
        ({"context": 1.0}, "context"),
        ({"head_start": "xavier"}, "head_start"),
        ({"starts": "whole"}, "starts"),
        ({"pooling": "max"}, "pooling"),
        ({"region_pooling": "centre"}, "region_pooling"),
        ({"region_source": "proposals"}, "region_source"),
    ],
)
def test_settings_that_nothing_can_be_learnt_with_are_refused(changes, named, learnt):
    with pytest.raises(ValueError, match=f"{named} is out of range.* with {learnt}"):
        dataclasses.replace(SETTINGS, **changes, **{learnt: True})
