"""Tests the agent of RARL: its loop against NumPy, and how it samples locations."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ram_tf.models import policy_gradient
from ram_tf.models.attention.region_scales import regions_at
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
from ram_tf.models.attention.spatial_transformer import sample_region
from ram_tf.models.choices import DESCRIPTIONS
from tests.support.agents import STARTS, STEPS, loop_by_numpy, make_agent
from tests.support.recurrent_layers import CHANNELS, LABELS, WHOLE, random_features


@pytest.fixture
def features():
    return random_features()


def assert_same(actual, expected, names=("regions", "region_scores"), tolerance=1e-5):
    for name in names:
        np.testing.assert_allclose(
            actual[name], expected[name], tolerance, tolerance, err_msg=name
        )


@pytest.mark.parametrize("starts", [None, STARTS], ids=["one f_loc", "one per step"])
@pytest.mark.parametrize("pooling", ["centre", "flatten"])
def test_layer_equals_the_plain_loop_of_its_docstring(features, starts, pooling):
    layer = make_agent(starts=starts, region_pooling=pooling)
    outputs = layer(features)
    assert set(outputs) == {"regions", "region_scores"}
    assert outputs["regions"].shape == (2, STEPS * 6, 2, 3)
    assert outputs["region_scores"].shape == (2, STEPS * 6, LABELS)
    assert_same(outputs, loop_by_numpy(layer, features))


@pytest.mark.parametrize("episodes", [1, 3])
def test_training_samples_regions_around_the_means(features, episodes):
    layer = make_agent(starts=STARTS, episodes=episodes, sigma=0.8)
    outputs = layer(features, training=True)
    locations = outputs["locations"].numpy()
    assert locations.shape == (2 * episodes, STEPS, 2)
    assert np.abs(locations).max() > 1  # some are clipped
    repeated = np.repeat(features, episodes, 0)
    expected = loop_by_numpy(layer, repeated, locations)
    assert_same(outputs, expected, ("regions", "region_scores", "baselines"))
    logarithms = stats.norm(expected["means"], 0.8).logpdf(locations).sum(-1)
    np.testing.assert_allclose(outputs["log_probabilities"], logarithms, rtol=1e-4)


def test_samples_have_the_means_and_the_deviation_of_the_policy(features):
    layer = make_agent(randomly=False, starts=STARTS, episodes=2000, sigma=0.3)
    locations = layer(features, training=True)["locations"].numpy()
    # 4000 of them: a standard error of 0.005.
    np.testing.assert_allclose(locations.mean(0), STARTS, atol=0.025)
    np.testing.assert_allclose(locations.std(0), np.full((STEPS, 2), 0.3), atol=0.02)


def test_inference_uses_the_mean_and_draws_nothing(features):
    layer = make_agent()
    assert_same(layer(features), layer(features), tolerance=0)
    before = layer.seed_generator.state.numpy()
    layer(features)
    np.testing.assert_array_equal(layer.seed_generator.state, before)


def test_samples_depend_on_the_seed_and_change_with_each_call(features):
    def sampled(layer):
        return layer(features, training=True)["locations"].numpy()

    first, again, other = (make_agent(seed=seed) for seed in (3, 3, 4))
    calls = [sampled(first), sampled(first)]
    np.testing.assert_array_equal(sampled(again), calls[0])
    assert np.abs(calls[1] - calls[0]).min() > 0
    assert np.abs(sampled(other) - calls[0]).min() > 0


def centres(outputs, regions=6):
    return outputs["regions"].numpy()[:, ::regions, :, 2]


def test_random_locations_fill_the_image_and_are_drawn_for_each_step(features):
    layer = make_agent(locations="random", episodes=500)
    outputs = layer(features, training=True)
    drawn = centres(outputs)
    assert "log_probabilities" not in outputs
    assert_same(outputs, loop_by_numpy(layer, np.repeat(features, 500, 0), drawn))
    # Uniform: variance 1/3; steps are independent.
    np.testing.assert_allclose(drawn.mean((0, 2)), np.zeros(STEPS), atol=0.06)
    np.testing.assert_allclose(drawn.var((0, 2)), np.full(STEPS, 1 / 3), atol=0.03)
    correlation = np.corrcoef(drawn.reshape(1000, -1).T) - np.eye(2 * STEPS)
    assert np.abs(correlation).max() < 0.15
    assert layer.theta_variables == []


def test_random_locations_at_inference_are_the_same_for_the_same_batch(features):
    layer, other = (
        make_agent(locations="random"),
        make_agent(locations="random", seed=5),
    )
    first = centres(layer(features))
    layer(features, training=True)
    np.testing.assert_array_equal(centres(layer(features)), first)
    assert np.abs(centres(other(features)) - first).min() > 0


@pytest.mark.parametrize("training", [False, True])
def test_fixed_locations_are_the_starts_in_one_episode(features, training):
    layer = make_agent(locations="fixed", starts=STARTS, episodes=4)
    outputs = layer(features, training=training)
    expected = loop_by_numpy(layer, features, np.tile([STARTS], (2, 1, 1)))
    assert_same(outputs, expected)
    assert set(outputs) == {"regions", "region_scores"}


def test_initial_means_are_the_starts(features):
    layer = make_agent(randomly=False, starts=STARTS)
    np.testing.assert_allclose(centres(layer(features)), [STARTS] * 2, atol=1e-6)
    layer = make_agent(randomly=False)
    assert [v.shape[0] for v in layer.theta_variables] == [1, 1]
    np.testing.assert_array_equal(centres(layer(features)), np.zeros((2, STEPS, 2)))


@pytest.mark.parametrize("which", DESCRIPTIONS)
def test_descriptions_are_those_of_each_region(features, which):
    layer = make_agent()
    outputs, expected = layer(features, describe=which), loop_by_numpy(layer, features)
    assert_same(outputs, expected)
    np.testing.assert_allclose(
        outputs["descriptions"], expected[which], rtol=1e-4, atol=1e-5
    )


def test_images_of_a_batch_do_not_affect_each_other(features):
    layer = make_agent()
    alone = [layer(features[i : i + 1]) for i in range(2)]
    joined = {name: np.concatenate([a[name] for a in alone]) for name in alone[0]}
    assert_same(layer(features), joined)


def test_unknown_batch_and_map_size_give_the_same(features):
    layer = make_agent()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, CHANNELS])])
    def attend(features):
        return layer(features)

    for part in (features, features[:1, :3]):
        assert_same(attend(part), layer(part))


def test_layer_works_on_symbolic_inputs(features):
    layer = make_agent()
    inputs = keras.Input((None, None, CHANNELS))
    outputs = layer(inputs)
    assert outputs["region_scores"].shape == (None, STEPS * 6, LABELS)
    assert outputs["regions"].shape == (None, STEPS * 6, 2, 3)
    assert_same(keras.Model(inputs, outputs)(features), layer(features))


def gradients(layer, features):
    """Returns those of all outputs but the log-probabilities, which are random."""
    with tf.GradientTape() as tape:
        outputs = layer(features, training=True)
        finite = tf.reduce_mean(outputs["log_probabilities"] * 0.0)
        loss = tf.reduce_sum(outputs["region_scores"] ** 2) + finite
        loss += tf.reduce_sum(outputs["baselines"] ** 2)
    found = tape.gradient(loss, layer.trainable_variables)
    return [tf.convert_to_tensor(gradient) for gradient in found]


def test_xla_computes_the_same_outputs_and_gradients(features):
    # XLA draws other random numbers; with this sigma they hardly change locations.
    layer = make_agent(episodes=2, starts=STARTS, sigma=1e-6)
    compiled = tf.function(layer, jit_compile=True)
    assert_same(compiled(features), layer(features), tolerance=1e-4)
    differentiate = tf.function(lambda f: gradients(layer, f), jit_compile=True)
    expected = gradients(layer, features)
    for actual, wanted in zip(differentiate(features), expected, strict=True):
        atol = 2e-3 * np.abs(wanted).max()
        np.testing.assert_allclose(actual, wanted, rtol=2e-3, atol=atol)


def test_xla_computes_a_policy_gradient(features):
    layer = make_agent(episodes=2, units=32)

    @tf.function(jit_compile=True)
    def differentiate(features):
        with tf.GradientTape() as tape:
            outputs = layer(features, training=True)
            loss = policy_gradient.policy_loss(
                tf.constant([1.0, 0.0, 0.5, 1.0]),
                outputs["baselines"],
                outputs["log_probabilities"],
                tf.fill([4], True),
            )
        return [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(
                loss, [*layer.theta_variables, layer.region_lstm.cell.kernel]
            )
        ]

    for gradient in differentiate(features):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 1e-6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_float32_near_full_precision(features, policy):
    exact, layer = make_agent(), make_agent(dtype=policy)
    for training in (False, True):
        outputs = layer(features, training=training)
        for name, value in outputs.items():
            assert value.dtype == tf.float32, name
            assert np.isfinite(value).all(), name
    assert_same(layer(features), exact(features), tolerance=0.1)
    assert layer.region_lstm.feature.compute_dtype == policy.removeprefix("mixed_")


def test_layer_is_restored_from_json(features):
    arguments = {"dropout": 0.25, "sigma": 0.3, "episodes": 4, "seed": 3}
    layer = make_agent(starts=STARTS, ratios=(1.0, 3.0), **arguments)
    assert layer.get_config().items() >= arguments.items()
    assert set(inspect.signature(ReinforcedAttention).parameters) - {"kwargs"} <= set(
        layer.get_config()
    )
    written = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(written))
    assert again.get_config() == layer.get_config()
    again(features)
    again.set_weights(layer.get_weights())
    assert_same(again(features), layer(features), tolerance=0)


@pytest.mark.parametrize("context", [0.0, 0.4])
def test_start_as_a_classifier_scores_all_regions_of_all_steps_like_it(
    features, context
):
    rng = np.random.default_rng(3)
    kernel = rng.normal(0, 0.5, (CHANNELS, LABELS)).astype("float32")
    bias = rng.normal(0, 0.5, LABELS).astype("float32")
    layer = make_agent(randomly=False, units=32, starts=STARTS)
    layer.region_lstm.start_as((kernel, bias), context=context)

    def classify(theta):
        region = sample_region(features, tf.tile([theta], [2, 1]), (4, 4))
        return tf.reduce_mean(region, [1, 2]) @ kernel

    theta = tf.reshape(regions_at(tf.constant(STARTS), layer.scales), [-1, 4])
    regions = np.stack([classify(row) for row in theta], 1)
    expected = (1 - context) * regions + context * classify(WHOLE)[:, None]
    error = layer(features)["region_scores"] - bias - expected
    # Up to the tanh of Eq. 4, which is linear within 3 %.
    assert np.linalg.norm(error) < 0.03 * np.linalg.norm(expected)


def test_dropout_acts_in_training_only(features):
    layer = make_agent(dropout=0.5, locations="fixed", starts=STARTS)
    assert_same(layer(features), layer(features), tolerance=0)
    first, second = (layer(features, training=True)["region_scores"] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"episodes": 0}, "episodes=0"),
        ({"sigma": 0.0}, r"sigma=0\.0"),
        ({"locations": "here"}, "Received: locations='here'"),
        ({"starts": [[0.0, 0.0]]}, r"Expected shape \(3, 2\)"),
        ({"starts": [[0.0, 0.0]] * 2 + [[1.0, 0.0]]}, "between -1 and 1"),
        ({"locations": "fixed"}, "Received: None"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_agent(**arguments)
