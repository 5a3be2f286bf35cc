"""Tests that `RegionLSTM.start_as` scores regions as step 1's classifier does."""

import numpy as np
import pytest

from ram_tf.models.attention.region_lstm import pool_region
from ram_tf.models.attention.spatial_transformer import sample_region
from tests.support.numpy_reference import relu
from tests.support.recurrent_layers import (
    CHANNELS,
    LABELS,
    STARTS,
    WHOLE,
    gradients,
    make_attention,
    random_features,
)


@pytest.fixture
def features():
    return random_features()


def classify_regions(features, thetas, pooling, classifier, context, feature=None):
    """Scores regions by a plain classifier, mixed with its scores of the whole map."""
    scores = []
    for theta in [WHOLE, *thetas]:
        region = sample_region(features, [theta] * len(features), (4, 4))
        x = pool_region(region, pooling).numpy()
        if feature is not None:
            x = relu(x @ feature[0] + feature[1])
        scores.append(x @ classifier[0] + classifier[1])
    whole, *scores = scores
    return np.stack([(1 - context) * s + context * whole for s in scores], 1)


def assert_near(actual, expected, bias):
    """Compares up to the tanh of Eq. 4, which is linear within 3 %."""
    error, size = actual - expected, expected - bias
    assert np.linalg.norm(error) < 0.03 * np.linalg.norm(size)


def random_dense(*shape, seed=3):
    """Returns kernel and bias."""
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.5, n).astype("float32") for n in (shape, shape[-1:])]


@pytest.mark.parametrize("context", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("layout", [0, 2])
def test_start_as_a_linear_classifier_scores_regions_like_it(
    features, pooling, context, layout
):
    classifier = random_dense(CHANNELS, LABELS)
    layer = make_attention(
        units=32,
        randomly=False,
        region_pooling=pooling,
        layout_channels=layout,
        starts=STARTS[3],
    )
    layer.region_lstm.start_as(classifier, context=context)
    expected = classify_regions(features, STARTS[3], pooling, classifier, context)
    assert_near(layer(features)["region_scores"], expected, classifier[1])


@pytest.mark.parametrize("context", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_start_as_a_hidden_layer_scores_regions_like_it(features, pooling, context):
    layer = make_attention(
        units=32, randomly=False, region_pooling=pooling, starts=STARTS[3]
    )
    feature = random_dense(layer.region_lstm.feature.kernel.shape[0], 10)
    classifier = random_dense(10, LABELS, seed=4)
    layer.region_lstm.start_as(classifier, feature, context)
    expected = classify_regions(
        features, STARTS[3], pooling, classifier, context, feature
    )
    assert_near(layer(features)["region_scores"], expected, classifier[1])


def test_start_as_leaves_gradients_to_every_weight(features):
    layer = make_attention(units=32, randomly=False, starts=STARTS[3])
    size = layer.region_lstm.feature.kernel.shape[0]
    kernel = np.random.default_rng(5).normal(size=(size, LABELS)).astype("float32")
    layer.region_lstm.start_as((kernel, np.zeros(LABELS, "float32")))
    for gradient in gradients(layer, features):
        assert np.abs(gradient).max() > 1e-9


def test_start_as_needs_two_units_per_feature_and_one_more():
    feature, classifier = random_dense(CHANNELS, 6), random_dense(6, LABELS)
    layer = make_attention(units=12, region_pooling="max")
    with pytest.raises(
        ValueError, match=r"Too few units.*least 13\. Received: units=12"
    ):
        layer.region_lstm.start_as(classifier, feature)
    make_attention(units=13, region_pooling="max").region_lstm.start_as(
        classifier, feature
    )


def test_start_as_a_linear_classifier_needs_five_units():
    classifier = random_dense(CHANNELS, LABELS)
    layer = make_attention(units=4, region_pooling="max")
    with pytest.raises(ValueError, match=r"Too few units.*least 5\. Received: units=4"):
        layer.region_lstm.start_as(classifier)
    make_attention(units=5, region_pooling="max").region_lstm.start_as(classifier)
