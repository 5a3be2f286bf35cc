"""What places say of labels: the layer by hand, the fit by planted places."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from on_sides import ON_SIDES, SIDES, make_model, make_split

from ram_tf import losses, region_features, spatial_prior_fit
from ram_tf.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.region_features import RegionFeatures
from ram_tf.reinforced_attention import ReinforcedAttention
from ram_tf.spatial_prior import terms

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


@pytest.mark.parametrize("spatial_prior", [False, True])
@pytest.mark.parametrize("model", ATTENTIONS)
def test_an_attention_comes_back_from_its_configuration(model, spatial_prior):
    layer = make_attention(model, spatial_prior)
    again = type(layer).from_config(layer.get_config())
    assert bool(again.spatial_prior) == spatial_prior
    assert again.get_config() == layer.get_config()


def test_regions_are_not_drawn_to_where_labels_are_expected(features):
    moved = []
    for strength in (0, 100):
        layer = make_attention("rdar", spatial_prior=True)
        layer.spatial_prior.set_weights([strength * KERNEL, BIAS[0]])
        with tf.GradientTape() as tape:
            scores = layer(features)["region_scores"]
        gradient = tape.gradient(scores, layer.location_bias)
        moved.append(tf.convert_to_tensor(gradient))
    assert np.abs(moved[0]).max() > 0
    np.testing.assert_allclose(*moved, rtol=1e-5)


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


@pytest.mark.parametrize("own_probe", [False, True])
def test_no_image_is_scored_by_a_probe_that_has_seen_its_labels(own_probe):
    settings = dataclasses.replace(ON_SIDES, region_probe=own_probe)
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(30, 5)).astype("float32")
    regions = rng.normal(size=(30, 2, 5)).astype("float32")
    labels = (whole[:, :2] > 0).astype("int8")

    def score(labels):
        features = RegionFeatures(whole, regions, labels, PLACES[:2])
        return spatial_prior_fit.held_out_scores(features, settings)

    expected = score(labels)
    for changed in (0, 17):
        other = labels.copy()
        other[changed] = 1 - other[changed]
        for scores, before in zip(score(other), expected, strict=True):
            np.testing.assert_array_equal(scores[changed], before[changed])
            assert np.abs(scores - before).max() > 1e-3, "others have seen them"


def test_too_few_images_to_divide_are_refused():
    features = RegionFeatures(
        np.ones((2, 5)), np.ones((2, 2, 5)), np.ones((2, 3), "int8"), PLACES[:2]
    )
    with pytest.raises(ValueError, match=r"Expected 3 or more .* Received: 2"):
        spatial_prior_fit.held_out_scores(features, ON_SIDES)


def test_regions_alone_are_scored_by_their_own_probe():
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(30, 5)).astype("float32")
    regions = rng.normal(size=(30, 2, 5)).astype("float32")
    labels = (regions[..., :2].max(1) > 0.5).astype("int8")
    features = RegionFeatures(whole, regions, labels, PLACES[:2])
    plain, own = (
        spatial_prior_fit.held_out_scores(
            features, dataclasses.replace(ON_SIDES, region_probe=own_probe)
        )
        for own_probe in (False, True)
    )
    np.testing.assert_allclose(own[0], plain[0], atol=0.01)
    assert np.abs(own[1] - plain[1]).max() > 0.1


@pytest.fixture(scope="module")
def on_sides():
    return make_split()


def fitted(split, **changes):
    settings = dataclasses.replace(ON_SIDES, spatial_prior=True, **changes)
    model = make_model(settings)
    features = region_features.look(split, settings)
    spatial_prior_fit.start(model, features, settings)
    return model.attention.spatial_prior


@pytest.mark.parametrize("model", ["rdar", "rarl"])
def test_labels_are_expected_where_images_show_them(on_sides, model):
    prior = fitted(on_sides, model=model)
    theta = [(0.4, 0.4, x, y) for x, y in SIDES.values()]
    said = prior(tf.constant(theta, tf.float32)).numpy()
    np.testing.assert_array_equal(said.argmax(0), range(3))


def test_mirrored_images_have_no_left_and_right(on_sides):
    assert np.abs(fitted(on_sides).kernel[0]).max() > 0
    assert not fitted(on_sides, flip=True).kernel.numpy()[0].any()


def test_a_prior_weighs_as_much_as_what_a_region_shows(on_sides, monkeypatch):
    fit, calls = spatial_prior_fit.fit, []

    def watched(*arguments):
        calls.append((*arguments, fit(*arguments)))
        return calls[0][-1]

    monkeypatch.setattr(spatial_prior_fit, "fit", watched)
    prior = fitted(on_sides)
    ((_, regions, _, region_terms, context, kernel),) = calls
    centres = losses.starting_centres(ON_SIDES.regions)
    theta = tf.constant([(1, 1, x, y) for x, y in centres], tf.float32)
    np.testing.assert_allclose(region_terms, terms(theta), atol=1e-6)
    assert context == ON_SIDES.context
    weight = 1 - ON_SIDES.context
    np.testing.assert_allclose(prior.kernel, weight * kernel, rtol=1e-5)
    # In a model a region's own scores have this weight, too.
    before = (weight * regions).max(1).mean(0)
    after = (weight * regions + prior(theta).numpy()).max(1).mean(0)
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.abs(prior.bias).max() > 1e-3
