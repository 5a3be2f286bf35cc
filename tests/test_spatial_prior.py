"""What places say of labels: the layer by hand, the fit by planted places."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_run import SMALL

from ram_tf import build, spatial_prior_fit
from ram_tf.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.reinforced_attention import ReinforcedAttention
from ram_tf.spatial_prior import SpatialPrior, terms
from ram_tf.split import Split

LABELS, CHANNELS = 3, 4
KERNEL, BIAS = np.split(
    np.random.default_rng(2).normal(size=(5, LABELS)).astype("float32"), [4]
)


def test_terms_are_what_hand_work_makes_of_a_centre():
    theta = [[0.3, 0.9, 0.0, 0.0], [0.4, 0.4, 1.0, -0.5], [0.4, 0.4, -3.0, 2.0]]
    expected = [[0, 0, -0.5, -0.5], [1, -0.5, 1, -0.125], [-1, 1, 1, 1]]
    np.testing.assert_allclose(terms(tf.constant(theta)), expected, atol=1e-6)


def test_terms_are_zero_on_average_over_the_image():
    centres, weights = np.polynomial.legendre.leggauss(4)
    theta = np.stack([0 * centres, 0 * centres, centres, centres], 1)
    average = weights @ terms(tf.constant(theta, tf.float32)).numpy()
    np.testing.assert_allclose(average, 0, atol=1e-6)


def test_a_prior_comes_back_from_its_configuration():
    prior = SpatialPrior(LABELS, name="prior")
    assert SpatialPrior.from_config(prior.get_config()).get_config() == (
        prior.get_config()
    )


ATTENTIONS = {
    "rdar": (
        RecurrentMemorizedAttention,
        {"num_regions": 2, "starts": [[0.4, 0.4, 0.5, -0.5], [0.3, 0.6, -0.2, 0.1]]},
    ),
    "rarl": (
        ReinforcedAttention,
        {"num_steps": 2, "sides": (0.2, 0.5), "starts": [[0.5, -0.5], [-0.2, 0.1]]},
    ),
}


def make_attention(model, spatial_prior):
    kind, arguments = ATTENTIONS[model]
    layer = kind(
        LABELS,
        units=8,
        region_size=(4, 4),
        region_pooling="average",
        spatial_prior=spatial_prior,
        **arguments,
    )
    layer.build((None, None, None, CHANNELS))
    rng = np.random.default_rng(1)
    for variable in layer.region_lstm.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return layer


@pytest.fixture
def features():
    shape = (2, 5, 6, CHANNELS)
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


@pytest.mark.parametrize("model", ATTENTIONS)
def test_each_region_has_what_its_own_place_says_added(model, features):
    plain, with_prior = (make_attention(model, prior) for prior in (False, True))
    with_prior.spatial_prior.set_weights([KERNEL, BIAS[0]])
    before, after = plain(features), with_prior(features)
    np.testing.assert_allclose(after["regions"], before["regions"], atol=1e-6)
    matrices = before["regions"].numpy().reshape(-1, 2, 3)
    theta = matrices[:, [0, 1, 0, 1], [0, 1, 2, 2]]
    assert np.ptp(theta[:, 2:], axis=0).min() > 0.1, "regions that lie apart"
    said = (terms(theta).numpy() @ KERNEL + BIAS).reshape(after["region_scores"].shape)
    added = after["region_scores"] - before["region_scores"]
    np.testing.assert_allclose(added, said, atol=1e-5)


@pytest.mark.parametrize("model", ATTENTIONS)
def test_a_prior_that_is_not_fitted_says_nothing(model, features):
    plain, fresh = (make_attention(model, prior) for prior in (False, True))
    np.testing.assert_array_equal(
        fresh(features)["region_scores"], plain(features)["region_scores"]
    )


@pytest.mark.parametrize("model", ATTENTIONS)
def test_gradients_do_not_change_a_prior(model):
    layer = make_attention(model, spatial_prior=True)
    prior = {id(variable) for variable in layer.spatial_prior.variables}
    assert len(prior) == 2
    assert prior <= {id(variable) for variable in layer.variables}
    assert not prior & {id(variable) for variable in layer.trainable_variables}


PLACES = np.array([[0.4, 0.4, 0, y] for y in (-0.7, 0.0, 0.7)], "float32")


def planted(count=400):
    """Scores of regions that speak of a label by right in one place alone.

    Returns:
        Scores of whole images, which say nothing, of three regions above each other,
        and labels: label j is present where region j speaks of it, and each region is
        as loud as the others.
    """
    rng = np.random.default_rng(0)
    regions = rng.normal(0, 1, (count, 3, LABELS))
    labels = np.stack([regions[:, j, j] > 0.5 for j in range(LABELS)], 1)
    return np.zeros((count, LABELS)), regions, labels.astype("int8")


def test_a_fit_finds_the_places_that_labels_were_planted_at():
    whole, regions, labels = planted()
    known = terms(PLACES).numpy()
    kernel = spatial_prior_fit.fit(whole, regions, labels, known, 0.0)
    said = known @ kernel
    np.testing.assert_array_equal(said.argmax(0), range(LABELS))
    others = np.sort(said, 0)[-2]
    assert (said.max(0) > others + 1).all()


def test_a_fit_does_not_depend_on_images_whose_labels_are_unknown():
    whole, regions, labels = planted()
    known = terms(PLACES).numpy()
    expected = spatial_prior_fit.fit(whole, regions, labels, known, 0.5)
    noise = np.random.default_rng(1).normal(0, 5, (50, 3, LABELS))
    found = spatial_prior_fit.fit(
        np.concatenate([whole, np.ones((50, LABELS))]),
        np.concatenate([regions, noise]),
        np.concatenate([labels, np.full((50, LABELS), -1, "int8")]),
        known,
        0.5,
    )
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_fit_ignores_regions_where_only_the_whole_image_counts():
    whole, regions, labels = planted()
    kernel = spatial_prior_fit.fit(whole, regions, labels, terms(PLACES).numpy(), 1.0)
    np.testing.assert_allclose(kernel, 0, atol=1e-4)


def test_a_levelled_prior_leaves_the_mean_of_the_best_scores():
    _, regions, _ = planted()
    said = np.random.default_rng(3).normal(0, 2, (3, LABELS))
    raised = regions + said + spatial_prior_fit.level(regions, said)
    np.testing.assert_allclose(raised.max(1).mean(0), regions.max(1).mean(0))


def test_no_image_is_scored_by_a_probe_that_has_seen_its_labels():
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(30, 5)).astype("float32")
    regions = rng.normal(size=(30, 2, 5)).astype("float32")
    labels = (whole[:, :2] > 0).astype("int8")
    expected = spatial_prior_fit.held_out_scores(whole, regions, labels, 1.0)
    for changed in (0, 17):
        other = labels.copy()
        other[changed] = 1 - other[changed]
        found = spatial_prior_fit.held_out_scores(whole, regions, other, 1.0)
        for scores, before in zip(found, expected, strict=True):
            np.testing.assert_array_equal(scores[changed], before[changed])
            assert np.abs(scores - before).max() > 1e-3, "others have seen them"


SETTINGS = dataclasses.replace(
    SMALL,
    region_pooling="average",
    head_start="pooled",
    probe_cost=1.0,
    context=0.0,
    flip=False,
    spatial_prior=True,
)


@pytest.fixture
def above_and_below():
    """Squares above and below, each with a label and a colour of its own."""
    labels = np.random.default_rng(0).integers(0, 2, (60, 2)).astype("int8")
    images = np.full((60, 40, 40, 3), 60, "uint8")
    colours = np.array([[255, 60, 0], [0, 60, 255]])
    rows = (slice(6, 16), slice(24, 34))
    for image, present in zip(images, labels, strict=True):
        for here, colour, row in zip(present, colours, rows, strict=True):
            if here:
                image[row, 15:25] = colour
    encoded = tuple(tf.io.encode_png(image).numpy() for image in images)
    names = tuple(f"{i}.png" for i in range(60))
    return Split(encoded, names, labels, ("above", "below"))


def fitted(split, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    keras.utils.set_random_seed(0)
    pooled = build.pooled_classifier(settings, 2, "average")
    model = build.attention_model(settings, 2, pooled)
    spatial_prior_fit.start(model, split, settings)
    return model.attention.spatial_prior


def test_labels_are_expected_where_images_show_them(above_and_below):
    prior = fitted(above_and_below)
    said = prior(tf.constant([[0.4, 0.4, 0, -0.5], [0.4, 0.4, 0, 0.5]])).numpy()
    above, below = said
    assert above[0] > below[0] + 0.1
    assert below[1] > above[1] + 0.1


def test_mirrored_images_have_no_left_and_right(above_and_below):
    assert np.abs(fitted(above_and_below).kernel[0]).max() > 0
    assert not fitted(above_and_below, flip=True).kernel.numpy()[0].any()


def test_a_fit_looks_at_no_more_images_than_it_needs(above_and_below, monkeypatch):
    monkeypatch.setattr(spatial_prior_fit, "MAX_IMAGES", 12)
    looked = []
    held_out = spatial_prior_fit.held_out_scores

    def count(whole, regions, labels, *arguments):
        looked.append((len(whole), len(labels)))
        return held_out(whole, regions, labels, *arguments)

    monkeypatch.setattr(spatial_prior_fit, "held_out_scores", count)
    fitted(above_and_below)
    assert looked == [(12, 12)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"probe_cost": 0.0}, "probe_cost"), ({"head_start": "xavier"}, "head_start")],
)
def test_settings_that_cannot_have_a_prior_are_refused(changes, named):
    with pytest.raises(ValueError, match=f"{named} is out of range"):
        dataclasses.replace(SETTINGS, **changes)
