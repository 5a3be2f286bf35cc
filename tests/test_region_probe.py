"""What regions say: against linear probes, by invariants and on planted objects."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from on_sides import ON_SIDES, make_model, make_split

from ram_tf import linear_probe, region_features, region_probe
from ram_tf.region_features import RegionFeatures

COST, CONTEXT, REGIONS = 0.5, 0.6, 4


def planted(count=400, seed=0):
    """Images of two labels, each an object in one of four regions, in noise.

    Returns:
        `RegionFeatures` of four numbers: of each label what its object looks like, and
        what often comes with it and lies in all regions.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, 2)).astype("int8")
    regions = rng.normal(0, 1, (count, REGIONS, 4)).astype("float32")
    for j in range(2):
        place = rng.integers(0, REGIONS, count)
        regions[np.arange(count), place, j] += 3 * labels[:, j]
        scene = labels[:, j] ^ (rng.random(count) < 0.25)
        regions[..., 2 + j] += scene[:, None]
    theta = np.full((REGIONS, 4), 0.5, "float32")
    return RegionFeatures(regions.mean(1), regions, labels, theta)


def probe(features):
    return linear_probe.fit(features.whole, features.labels, COST)


def test_where_the_whole_image_alone_counts_the_probe_is_scikit_learns():
    features = planted()
    nothing = np.zeros((4, 2), "float32"), np.zeros(2, "float32")
    kernel, _ = region_probe.fit(features, nothing, COST, 1.0)
    np.testing.assert_allclose(kernel, probe(features)[0], atol=2e-3)


def test_a_region_that_is_the_whole_image_teaches_nothing():
    features = planted()
    same = RegionFeatures(
        features.whole, features.whole[:, None], features.labels, features.theta[:1]
    )
    known = probe(features)
    for learnt, before in zip(
        region_probe.fit(same, known, COST, CONTEXT), known, strict=True
    ):
        np.testing.assert_allclose(learnt, before, atol=5e-3)


def test_regions_learn_what_objects_look_like_and_not_what_comes_with_them():
    features = planted()
    known = probe(features)
    learnt, _ = region_probe.fit(features, known, COST, CONTEXT)
    own, around = (
        [kernel[[0, 1], [0, 1]], kernel[[2, 3], [0, 1]]]
        for kernel in (learnt, known[0])
    )
    assert (own[0] / own[1] > 1.3 * around[0] / around[1]).all()


def test_a_probe_does_not_depend_on_images_whose_labels_are_unknown():
    features = planted()
    known = probe(features)
    expected, _ = region_probe.fit(features, known, COST, CONTEXT)
    labels = np.concatenate([features.labels, np.full_like(features.labels, -1)])
    twice = RegionFeatures(
        *(np.concatenate([part] * 2) for part in (features.whole, features.regions)),
        labels,
        features.theta,
    )
    found, _ = region_probe.fit(twice, known, COST, CONTEXT)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(expected - known[0]).max() > 0.1


def test_a_label_without_positives_or_negatives_is_left_as_it_is():
    features = planted()
    features.labels[:, 0] = 0
    features.labels[:300, 1], features.labels[300:, 1] = 1, -1
    known = probe(features)
    learnt = region_probe.fit(features, known, COST, CONTEXT)
    for after, before in zip(learnt, known, strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_best_region_scores_as_much_as_before_on_average():
    features = planted()
    known = probe(features)
    learnt = region_probe.fit(features, known, COST, CONTEXT)
    before, after = (
        (features.regions @ kernel + bias).max(1).mean(0)
        for kernel, bias in (known, learnt)
    )
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.abs(learnt[1] - known[1]).max() > 0.1


@pytest.mark.parametrize("model", ["rdar", "rarl"])
def test_a_model_begins_with_what_changes_in_the_probe(model):
    split = make_split().take(np.arange(40))
    settings = dataclasses.replace(ON_SIDES, model=model)
    built = make_model(settings)
    keras.utils.set_random_seed(0)
    features = region_features.look(split, settings)
    images = tf.random.uniform((3, settings.crop, settings.crop, 3), 0, 255)
    maps = built.backbone(images)
    before = built.attention(maps, describe="pooled")
    region_probe.start(built, features, settings)
    after = built.attention(maps)["region_scores"]
    cost = settings.probe_cost
    known = linear_probe.fit(features.whole, features.labels, cost)
    learnt = region_probe.fit(features, known, cost, settings.context)
    said = [before["descriptions"] @ kernel + bias for kernel, bias in (known, learnt)]
    expected = (1 - settings.context) * (said[1] - said[0])
    error = after - before["region_scores"] - expected
    # Up to the tanh of Eq. 4, which is linear within 3 %.
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(expected)
