"""Tests the recurrent attention against its loop in NumPy (Eq. 1-5)."""

import itertools
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.spatial_transformer import sample_region, theta_to_matrix
from ram_tf.models.choices import DESCRIPTIONS
from tests.support.numpy_reference import read_by_numpy
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


def loop_by_numpy(layer, features):
    """Runs the loop of the layer's docstring; sampling is tested elsewhere.

    Returns:
        The layer's outputs, and each of the `DESCRIPTIONS` under its name.
    """
    hidden = memory = np.zeros((len(features), layer.units))
    theta = np.tile(WHOLE, (len(features), 1)).astype("float32")
    w_zm, b_m = (variable.numpy() for variable in layer.theta_variables)
    scores, thetas, descriptions = [], [], []
    for k in range(layer.num_regions + 1):
        region = sample_region(features, theta, layer.region_size)
        region_scores, (hidden, memory), vectors = read_by_numpy(
            layer.region_lstm, region.numpy(), (hidden, memory)
        )
        z = vectors["z"]
        if k > 0:
            scores.append(region_scores)
            descriptions.append(vectors)
        if k < layer.num_regions:
            row = min(k, len(b_m) - 1)
            theta = (z @ w_zm[row] + b_m[row]).astype("float32")
            thetas.append(theta)
    return {
        "region_scores": np.stack(scores, 1),
        "regions": theta_to_matrix(np.stack(thetas, 1)),
        **{n: np.stack([v[n] for v in descriptions], 1) for n in DESCRIPTIONS},
    }


def assert_same_outputs(actual, expected, tolerance=1e-5):
    for name in ("region_scores", "regions"):
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("pooling", ["flatten", "average", "max", "centre"])
@pytest.mark.parametrize("starts", [None, STARTS[3]], ids=["paper", "starts"])
def test_layer_equals_the_plain_loop_of_its_docstring(features, pooling, starts):
    layer = make_attention(region_pooling=pooling, starts=starts)
    assert_same_outputs(layer(features), loop_by_numpy(layer, features))


@pytest.mark.parametrize("count", [1, 5, 9])
def test_any_number_of_regions_equals_the_plain_loop(features, count):
    layer = make_attention(count, region_pooling="average")
    outputs = layer(features)
    assert outputs["region_scores"].shape == (2, count, LABELS)
    assert outputs["regions"].shape == (2, count, 2, 3)
    assert_same_outputs(outputs, loop_by_numpy(layer, features))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_layout_is_an_input_in_addition_to_the_pooled_features(features, pooling):
    layer = make_attention(region_pooling=pooling, layout_channels=2)
    assert_same_outputs(layer(features), loop_by_numpy(layer, features))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("which", DESCRIPTIONS)
def test_descriptions_are_those_of_each_region_without_the_whole_map(
    features, which, count
):
    # Pooled descriptions do not include the layout.
    layer = make_attention(count, region_pooling="average", layout_channels=2)
    outputs, expected = layer(features, describe=which), loop_by_numpy(layer, features)
    assert_same_outputs(outputs, expected)
    assert outputs["descriptions"].shape == expected[which].shape
    np.testing.assert_allclose(
        outputs["descriptions"], expected[which], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("which", DESCRIPTIONS)
def test_descriptions_do_not_change_the_other_outputs(features, which):
    layer = make_attention(dropout=0.5)
    plain, outputs = layer(features), layer(features, describe=which)
    assert set(outputs) == {*plain, "descriptions"}
    assert_same_outputs(outputs, plain, 1e-6)


@pytest.mark.parametrize("which", DESCRIPTIONS)
def test_descriptions_have_a_known_width_in_a_graph(features, which):
    layer = make_attention()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, CHANNELS])])
    def describe(features):
        descriptions = layer(features, describe=which)["descriptions"]
        width = 4 * CHANNELS if which == "pooled" else 8
        assert descriptions.shape.as_list() == [None, 3, width]
        return descriptions

    expected = layer(features, describe=which)["descriptions"]
    np.testing.assert_allclose(describe(features), expected, rtol=1e-5, atol=1e-5)


def test_descriptions_are_float32_under_mixed_precision(features):
    layer = make_attention(dtype="mixed_bfloat16")
    for which in DESCRIPTIONS:
        assert layer(features, describe=which)["descriptions"].dtype == tf.float32


def test_images_of_a_batch_do_not_affect_each_other(features):
    layer = make_attention()
    alone = [layer(features[i : i + 1]) for i in range(2)]
    joined = {name: np.concatenate([a[name] for a in alone]) for name in alone[0]}
    assert_same_outputs(layer(features), joined)


@pytest.mark.parametrize("count", [0, -1])
def test_no_regions_are_refused(count):
    with pytest.raises(ValueError, match=f"1 or more. Received: num_regions={count}"):
        RecurrentMemorizedAttention(LABELS, count)


def test_starts_for_another_number_of_regions_are_refused():
    with pytest.raises(
        ValueError, match=r"Expected shape \(2, 4\). Received: \(1, 4\)"
    ):
        RecurrentMemorizedAttention(LABELS, 2, starts=STARTS[1])


def test_unknown_pooling_is_refused(features):
    with pytest.raises(ValueError, match=r"Expected 'flatten'.* Received: 'middle'"):
        make_attention(region_pooling="middle")(features)


def test_unknown_batch_and_map_size_give_the_same(features):
    layer = make_attention()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, CHANNELS])])
    def attend(features):
        outputs = layer(features)
        # The anchors of the loss need a known K.
        assert outputs["regions"].shape.as_list() == [None, 3, 2, 3]
        assert outputs["region_scores"].shape.as_list() == [None, 3, LABELS]
        return outputs

    for part in (features, features[:1, :3]):
        assert_same_outputs(attend(part), layer(part))


def test_layer_works_on_symbolic_inputs(features):
    layer = make_attention()
    inputs = keras.Input((None, None, CHANNELS))
    outputs = layer(inputs)
    assert outputs["region_scores"].shape == (None, 3, LABELS)
    assert outputs["regions"].shape == (None, 3, 2, 3)
    assert_same_outputs(keras.Model(inputs, outputs)(features), layer(features))


def test_xla_computes_the_same_outputs_and_gradients(features):
    layer = make_attention(starts=STARTS[3])
    compiled = tf.function(layer, jit_compile=True)
    assert_same_outputs(compiled(features), layer(features), 1e-4)
    differentiate = tf.function(
        lambda features: gradients(layer, features), jit_compile=True
    )
    expected = gradients(layer, features)
    for actual, wanted in zip(differentiate(features), expected, strict=True):
        atol = 1e-3 * np.abs(wanted).max()
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=atol)


def test_gradients_reach_the_features_and_every_weight(features):
    # Initial weights: one without a gradient would never be trained.
    layer = make_attention(units=32, randomly=False, starts=STARTS[3])
    names = ["features", *(v.path for v in layer.trainable_variables)]
    assert len(names) == 1 + 2 + 3 + 2 + 2 + 1 + 1
    for name, gradient in zip(names, gradients(layer, features), strict=True):
        assert np.abs(gradient).max() > 1e-9, name


def test_gradients_of_the_regions_equal_finite_differences(features):
    layer = make_attention(2, region_pooling="average")
    w_zm, b_m = layer.theta_variables
    w_zm.assign(0.01 * w_zm)
    b_m.assign([[0.53, 0.47, 0.13, -0.11]])
    index = [v.path for v in layer.trainable_variables].index(b_m.path)
    analytic = gradients(layer, features)[1 + index].numpy()
    step, start = 1e-3, b_m.numpy()
    for i in range(4):
        losses = []
        for sign in (1, -1):
            moved = start.copy()
            moved[0, i] += sign * step
            b_m.assign(moved)
            losses.append(float(tf.reduce_sum(layer(features)["region_scores"] ** 2)))
        numeric = (losses[0] - losses[1]) / (2 * step)
        np.testing.assert_allclose(analytic[0, i], numeric, rtol=0.05, atol=5e-3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_float32_near_full_precision(features, policy):
    exact = make_attention(starts=STARTS[3])
    layer = make_attention(starts=STARTS[3], dtype=policy)
    outputs = layer(features)
    for name, value in outputs.items():
        assert value.dtype == tf.float32, name
        assert np.isfinite(value).all(), name
    assert_same_outputs(outputs, exact(features), 0.1)
    assert layer.region_lstm.feature.compute_dtype == policy.removeprefix("mixed_")


def test_coordinates_keep_float32_under_mixed_precision(features):
    start = [[0.123456, 0.234567, 0.345678, -0.456789]]
    layer = make_attention(1, randomly=False, starts=start, dtype="mixed_bfloat16")
    expected = theta_to_matrix(np.array([start] * 2, "float32"))
    np.testing.assert_array_equal(layer(features)["regions"], expected)


def with_given_regions(layer):
    """Returns the layer without its localisation, with its other weights."""
    config = {**layer.get_config(), "given_regions": True}
    given = RecurrentMemorizedAttention.from_config(config)
    given.build((None, None, None, CHANNELS))
    localization = {id(v) for v in layer.theta_variables}
    kept = [v for v in layer.variables if id(v) not in localization]
    for variable, value in zip(given.variables, kept, strict=True):
        variable.assign(value)
    return given


@pytest.mark.parametrize("count", [1, 3])
def test_a_layer_scores_the_regions_that_it_found_the_same_when_given(features, count):
    layer = make_attention(count, starts=STARTS[count], layout_channels=2)
    found = layer(features, describe="z")
    theta = tf.gather(
        tf.reshape(found["regions"], [2, count, 6]), [0, 4, 2, 5], axis=2
    )  # s_x, s_y, t_x, t_y
    outputs = with_given_regions(layer)(features, theta=theta, describe="z")
    assert_same_outputs(outputs, found)
    np.testing.assert_allclose(
        outputs["descriptions"], found["descriptions"], rtol=1e-5, atol=1e-5
    )


def test_given_regions_keep_their_order(features):
    given = with_given_regions(make_attention(starts=STARTS[3]))
    theta = tf.tile([STARTS[3]], [2, 1, 1])
    regions = given(features, theta=theta)["regions"]
    np.testing.assert_array_equal(regions, theta_to_matrix(theta))


def test_with_given_regions_there_are_no_localisation_weights(features):
    given = with_given_regions(make_attention())
    assert given.theta_variables == []
    theta = tf.tile([STARTS[3]], [2, 1, 1])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(given(features, theta=theta)["region_scores"] ** 2)
    # All weights other than W_zm and b_m have a gradient.
    for variable, gradient in zip(
        given.trainable_variables,
        tape.gradient(loss, given.trainable_variables),
        strict=True,
    ):
        assert gradient is not None, variable.path


def test_given_regions_keep_float32_under_mixed_precision(features):
    layer = make_attention(1, given_regions=True, dtype="mixed_bfloat16")
    theta = tf.constant([[[0.123456, 0.234567, 0.345678, -0.456789]]] * 2)
    regions = layer(features, theta=theta)["regions"]
    np.testing.assert_array_equal(regions, theta_to_matrix(theta))


def test_layer_is_restored_from_json(features):
    layer = make_attention(
        3, 6, region_pooling="max", layout_channels=2, starts=STARTS[3], dropout=0.25
    )
    written = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(written))
    assert again.get_config() == layer.get_config()
    again.set_weights(layer.get_weights())
    assert_same_outputs(again(features), layer(features))


@pytest.mark.parametrize("count", STARTS)
def test_initial_regions_are_exactly_their_starts(features, count):
    layer = make_attention(count, randomly=False, starts=STARTS[count])
    expected = theta_to_matrix(np.array([STARTS[count]] * 2, "float32"))
    np.testing.assert_array_equal(layer(features)["regions"], expected)


def test_without_starts_initial_regions_differ(features):
    layer = make_attention(3, randomly=False)
    # Eq. 5: one W_zm and b_m for all iterations.
    kernel, bias = layer.theta_variables
    assert kernel.shape[0] == bias.shape[0] == 1
    np.testing.assert_array_equal(bias[0], WHOLE)
    regions = layer(features)["regions"].numpy()
    for one, other in itertools.combinations(range(3), 2):
        assert np.abs(regions[:, one] - regions[:, other]).max() > 1e-4


def test_initial_kernels_fill_the_bounds_of_xavier():
    layer = make_attention(units=64, randomly=False)
    kernels = [
        layer.region_lstm.feature.kernel,
        layer.region_lstm.cell.kernel,
        layer.region_lstm.cell.recurrent_kernel,
        layer.region_lstm.hidden.kernel,
        layer.region_lstm.classifier.kernel,
        layer.theta_variables[0][0],
    ]
    for kernel in kernels:
        bound = math.sqrt(6 / sum(kernel.shape))
        largest = np.abs(kernel).max()
        assert 0.9 * bound < largest <= bound, kernel.path
        # Uniform between the bounds.
        assert np.std(kernel) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_dropout_acts_in_training_only(features):
    layer = make_attention(dropout=0.5)
    np.testing.assert_array_equal(
        layer(features)["region_scores"], layer(features)["region_scores"]
    )
    trained = [layer(features, training=True)["region_scores"] for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-3
