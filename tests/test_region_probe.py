"""What regions say: against linear probes, by invariants and on planted objects."""

import dataclasses

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


def fit(features, context=CONTEXT):
    return region_probe.fit(features, COST, context)


def assert_all_close(found, expected, atol):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def test_the_probe_of_whole_images_is_scikit_learns():
    features = planted()
    whole, _ = fit(features)
    expected = linear_probe.fit(features.whole, features.labels, COST)
    assert_all_close(whole, expected, atol=2e-3)


def test_where_the_whole_image_alone_counts_regions_have_its_probe():
    whole, own = fit(planted(), context=1.0)
    assert_all_close(own, whole, atol=2e-3)


def test_a_region_that_is_the_whole_image_teaches_nothing():
    features = planted()
    same = dataclasses.replace(features, regions=features.whole[:, None])
    whole, own = fit(same)
    assert_all_close(own, whole, atol=5e-3)


def test_regions_learn_what_objects_look_like_and_not_what_comes_with_them():
    (around, _), (own, _) = fit(planted())
    diagonal = [0, 1], [0, 1]
    shares = [kernel[:2][diagonal] / kernel[2:][diagonal] for kernel in (own, around)]
    assert (shares[0] > 1.3 * shares[1]).all()


def test_a_probe_does_not_depend_on_images_whose_labels_are_unknown():
    features = planted()
    expected = fit(features)
    # As loud, and of other scores.
    others = dataclasses.replace(
        features,
        whole=-features.whole,
        regions=-features.regions,
        labels=np.full_like(features.labels, -1),
    )
    found = fit(
        RegionFeatures(
            *(
                np.concatenate([getattr(part, name) for part in (features, others)])
                for name in ("whole", "regions", "labels")
            ),
            features.theta,
        )
    )
    for one, other in zip(found, expected, strict=True):
        assert_all_close(one, other, atol=5e-3)
    assert np.abs(expected[1][0] - expected[0][0]).max() > 0.1


@pytest.mark.parametrize(("value", "odds"), [(0, 1 / 401), (1, 301)])
def test_a_label_without_positives_or_negatives_has_its_odds_and_no_kernel(value, odds):
    features = planted()
    expected = fit(features)
    features.labels[:, 0] = value
    if value:
        features.labels[300:, 0] = -1
    for (kernel, bias), (before, _) in zip(fit(features), expected, strict=True):
        np.testing.assert_array_equal(kernel[:, 0], 0)
        np.testing.assert_allclose(bias[0], np.log(odds), rtol=1e-6)
        np.testing.assert_allclose(kernel[:, 1], before[:, 1], atol=5e-3)


def test_the_best_region_scores_as_much_as_by_the_probe_of_whole_images_on_average():
    features = planted()
    fitted = fit(features)
    before, after = (
        (features.regions @ kernel + bias).max(1).mean(0) for kernel, bias in fitted
    )
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.abs(fitted[1][1] - fitted[0][1]).max() > 0.1


def test_a_model_begins_with_what_changes_in_the_probe():
    split = make_split().take(np.arange(40))
    built = make_model(ON_SIDES)
    features = region_features.look(split, ON_SIDES)
    images = tf.random.uniform((3, ON_SIDES.crop, ON_SIDES.crop, 3), 0, 255)
    maps = built.backbone(images)
    before = built.attention(maps, describe="pooled")
    region_probe.start(built, features, ON_SIDES)
    after = built.attention(maps)["region_scores"]
    said = [
        before["descriptions"] @ kernel + bias
        for kernel, bias in region_probe.fit(
            features, ON_SIDES.probe_cost, ON_SIDES.context
        )
    ]
    expected = (1 - ON_SIDES.context) * (said[1] - said[0])
    error = after - before["region_scores"] - expected
    # Up to the tanh of Eq. 4, which is linear within 3 %.
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(expected)
