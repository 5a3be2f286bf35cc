"""What is seen of images and of regions where step 2 starts, and who may ask for it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from on_sides import ON_SIDES, make_model, make_split

from ram_tf import region_features
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


def test_whole_images_and_regions_are_seen_as_a_model_begins_to_see_them(few):
    model = make_model(SETTINGS)
    features = model.backbone(crops(few, SETTINGS))
    attended = model.attention(features, describe="pooled")
    keras.utils.set_random_seed(0)  # with the weights of the model's backbone
    seen = region_features.look(few, SETTINGS)
    assert seen.regions.shape == (8, SETTINGS.regions, features.shape[-1])
    np.testing.assert_allclose(seen.regions, attended["descriptions"], rtol=1e-4)
    np.testing.assert_allclose(seen.whole, np.mean(features, (1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(seen.labels, few.labels)


def test_of_many_images_some_are_drawn(few, monkeypatch):
    monkeypatch.setattr(region_features, "MAX_IMAGES", 3)
    keras.utils.set_random_seed(0)
    drawn = region_features.look(few, SETTINGS)
    assert drawn.whole.shape[0] == drawn.regions.shape[0] == 3
    monkeypatch.undo()
    keras.utils.set_random_seed(0)
    every = region_features.look(few, SETTINGS)
    chosen = [np.abs(every.whole - whole).max(1).argmin() for whole in drawn.whole]
    assert chosen != [0, 1, 2]
    for name in ("whole", "regions", "labels"):
        np.testing.assert_allclose(
            getattr(drawn, name), getattr(every.take(chosen), name), rtol=1e-4
        )


def test_an_agent_is_shown_regions_of_the_preset(few):
    seen = region_features.look(few, dataclasses.replace(SETTINGS, model="rarl"))
    # The middle and eight around it, of two fifths of what is seen.
    np.testing.assert_allclose(seen.theta[:, :2], 0.4)
    np.testing.assert_allclose(seen.theta[0, 2:], 0)
    away = np.linalg.norm(seen.theta[1:, 2:], axis=1)
    assert len(away) == 8
    np.testing.assert_allclose(away, away[0], rtol=1e-5)


@pytest.mark.parametrize("learnt", ["region_probe", "spatial_prior"])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"probe_cost": 0.0}, "probe_cost"),
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
