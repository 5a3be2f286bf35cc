"""Tests of the linear probe: optimum, invariants, and images that it classifies."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from ram_tf.data.split import Split
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from ram_tf.training import linear_probe

COST = 0.5


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(1.0, 2.0, (60, 3)).astype("float32")


@pytest.fixture
def labels(features):
    noise = np.random.default_rng(1).normal(0, 2, (60, 2))
    return (features[:, :2] + noise > 1).astype("int8")


def test_the_regularised_likelihood_has_no_gradient_at_the_probe(features, labels):
    kernel, bias = linear_probe.fit(features, labels, COST)
    scale = np.sqrt(np.mean(np.square(features)))
    excess = expit(features @ kernel + bias) - labels
    # The gradient of ||w||^2 / 2 + C * loss for scaled features.
    gradient = kernel * scale + COST * (features / scale).T @ excess
    np.testing.assert_allclose(gradient, 0, atol=1e-2)
    np.testing.assert_allclose(excess.sum(0), 0, atol=1e-2)


def test_a_probe_scores_the_same_whatever_the_scale_of_the_features(features, labels):
    kernel, bias = linear_probe.fit(features, labels, COST)
    other, other_bias = linear_probe.fit(features * 50, labels, COST)
    np.testing.assert_allclose(other * 50, kernel, rtol=1e-3)
    np.testing.assert_allclose(other_bias, bias, rtol=1e-3, atol=1e-4)


def test_unknown_labels_do_not_change_a_probe(features, labels):
    extended = np.concatenate([features, features[:20]])
    unknown = np.concatenate([labels, np.full((20, 2), -1, "int8")])
    # Rescaled so that the mean square of all features stays the same.
    extended[60:] *= np.sqrt(
        np.mean(np.square(features)) / np.mean(np.square(extended[60:]))
    )
    for found, expected in zip(
        linear_probe.fit(extended, unknown, COST),
        linear_probe.fit(features, labels, COST),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_labels_that_are_never_or_always_present_are_predicted_by_the_bias(features):
    labels = np.tile(np.array([0, 1], "int8"), (60, 1))
    kernel, bias = linear_probe.fit(features, labels, COST)
    assert not kernel.any()
    np.testing.assert_allclose(bias, [-np.log(61), np.log(61)], rtol=1e-6)


@pytest.fixture
def run(tmp_path):
    settings = Config.of(
        image_size=24,
        crop_margin=8,
        flip=False,
        backbone="small",
        weights="none",
        pooling="average",
        region_pooling="average",
        units=16,
        batch_size=4,
        loss="bce",
        probe_cost=100.0,
    )
    return Run(tmp_path, settings, ("red", "blue"))


def painted(labels, edge):
    """Plain images whose red shows the first label and whose blue shows the second."""
    colours = 120 + 100 * np.stack([labels[:, 0], 0 * labels[:, 0], labels[:, 1]], -1)
    return np.tile(colours[:, None, None].astype("uint8"), (1, edge, edge, 1))


@pytest.fixture
def split(run):
    labels = np.random.default_rng(0).integers(0, 2, (12, 2)).astype("int8")
    images = [tf.io.encode_png(image).numpy() for image in painted(labels, 24)]
    names = tuple(f"{i}.png" for i in range(len(labels)))
    return Split(tuple(images), names, labels, run.label_names)


def test_a_probe_classifies_with_the_features_of_a_frozen_backbone(run, split):
    pooled = run_models.build_pooled(run, "average")
    before = [w.numpy() for w in pooled.backbone.weights]
    linear_probe.start(pooled, split, run.config)
    images = painted(split.labels, 16).astype("float32")
    probabilities = pooled(images)["probabilities"]
    np.testing.assert_array_equal(probabilities > 0.5, split.labels > 0)
    for weights, expected in zip(pooled.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_a_probe_that_is_fitted_again_is_bit_identical(run, split):
    found = []
    for _ in range(2):
        pooled = run_models.build_pooled(run, "average")
        pooled.set_weights([np.full(w.shape, 0.1) for w in pooled.get_weights()])
        linear_probe.start(pooled, split, run.config)
        found.append(pooled.classifier.get_weights())
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_mirrored_images_are_added_to_the_features_of_a_probe(run):
    # The label is a red left half; mirrored, it is on the right and still present.
    labels = np.array([[1, 0], [0, 0]] * 6, "int8")
    images = painted(np.zeros_like(labels), 24)
    images[::2, :, :12, 0] = 220
    encoded = tuple(tf.io.encode_png(image).numpy() for image in images)
    split = Split(encoded, tuple(map(str, range(12))), labels, run.label_names)
    pooled = run_models.build_pooled(run, "average")
    features = {}
    for flip in (False, True):
        settings = run.config.replace(flip=flip)
        features[flip] = linear_probe._features(pooled, split, settings)
    plain, plain_labels = features[False]
    both, both_labels = features[True]
    mirrored = pooled.pool(images[:, 4:20, 4:20][:, :, ::-1].astype("float32"))
    np.testing.assert_allclose(both, np.concatenate([plain, mirrored]), rtol=1e-5)
    np.testing.assert_array_equal(both_labels, np.tile(plain_labels, (2, 1)))
    assert np.abs(plain - mirrored).max() > 1e-3
