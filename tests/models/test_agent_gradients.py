"""Tests which weights of the agent each loss trains, and the policy gradient."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ram_tf.models import policy_gradient
from tests.support.agents import STEPS, loop_by_numpy, make_agent
from tests.support.recurrent_layers import CHANNELS, LABELS, random_features


@pytest.fixture
def features():
    return random_features()


def reached(layer, features, lose):
    """Returns the names of the layers that have a gradient of the loss."""
    features = tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = lose(layer(features, training=True))
    sources = [features, *layer.trainable_variables]
    names = ["features", *(v.path.partition("/")[2] for v in layer.trainable_variables)]
    return {
        name.removeprefix("region_lstm/").partition("/")[0]
        for name, gradient in zip(names, tape.gradient(loss, sources), strict=True)
        if gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 1e-9
    }


@pytest.mark.parametrize("steps", [1, STEPS])
def test_the_classification_loss_does_not_train_locations(features, steps):
    layer = make_agent(num_steps=steps, units=32)
    moved = reached(layer, features, lambda o: tf.reduce_sum(o["region_scores"] ** 2))
    assert moved == {"features", "layout", "W_fx", "lstm", "W_hz", "W_zs"}


@pytest.mark.parametrize("steps", [1, STEPS])
def test_the_policy_gradient_reaches_the_lstm_and_the_features(features, steps):
    layer = make_agent(num_steps=steps, units=32)
    moved = reached(layer, features, lambda o: tf.reduce_sum(o["log_probabilities"]))
    assert moved == {"features", "layout", "W_fx", "lstm", "W_loc", "b_loc"}


def test_the_baseline_loss_trains_only_the_baseline(features):
    layer = make_agent(units=32)
    moved = reached(layer, features, lambda o: tf.reduce_sum(o["baselines"] ** 2))
    assert moved == {"baseline"}


def test_regions_and_locations_have_no_gradient(features):
    layer = make_agent(units=32)
    for name in ("regions", "locations"):
        lose = lambda o, name=name: tf.reduce_sum(o[name] ** 2)  # noqa: E731
        assert reached(layer, features, lose) == set()


def test_the_policy_gradient_is_that_of_the_log_probability_through_numpy(features):
    # d log pi / d b_loc = (l - m) / sigma^2 * (1 - m^2), with one step.
    layer = make_agent(num_steps=1, episodes=5, sigma=0.3)
    with tf.GradientTape() as tape:
        outputs = layer(features, training=True)
        loss = tf.reduce_sum(outputs["log_probabilities"])
    locations = outputs["locations"].numpy()
    expected = loop_by_numpy(layer, np.repeat(features, 5, 0), locations)["means"]
    expected = ((locations - expected) / 0.3**2 * (1 - expected**2)).sum((0, 1))
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.location_bias))
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-3)


def test_the_policy_gradient_of_later_steps_flows_through_the_states(features):
    # Against differences of the plain loop in float64, at the sampled locations.
    sigma = 0.3
    layer = make_agent(sigma=sigma)
    with tf.GradientTape() as tape:
        outputs = layer(features, training=True)
        loss = tf.reduce_sum(outputs["log_probabilities"][:, -1])
    locations = outputs["locations"].numpy()
    kernels = [
        layer.region_lstm.cell.kernel,
        layer.region_lstm.cell.recurrent_kernel,
        layer.region_lstm.feature.kernel,
    ]
    for kernel, gradient in zip(kernels, tape.gradient(loss, kernels), strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        step, value, logarithms = 2e-3, kernel.numpy(), []
        for sign in (1, -1):
            changed = value.copy()
            changed[place] += sign * step
            kernel.assign(changed)
            mean = loop_by_numpy(layer, features, locations)["means"][:, -1]
            square = ((locations[:, -1] - mean) ** 2).sum()
            logarithms.append(-square / (2 * sigma**2))
        kernel.assign(value)
        difference = (logarithms[0] - logarithms[1]) / (2 * step)
        assert abs(difference) > 0.01
        np.testing.assert_allclose(gradient[place], difference, rtol=0.02)


@pytest.mark.slow
def test_reinforce_is_the_derivative_of_the_expected_reward_of_the_agent():
    # With one image, one step and one region, the reward at each place can be computed
    # on a grid and integrated over the policy.
    sigma, count = 0.3, 40_000
    rng = np.random.default_rng(2)
    image = rng.normal(size=(1, 7, 7, CHANNELS)).astype("float32")
    small = {"num_steps": 1, "sides": (0.2,), "ratios": (1.0,), "layout_channels": 0}
    layer = make_agent(episodes=count, sigma=sigma, **small)
    layer.location_kernel.assign(tf.zeros_like(layer.location_kernel))
    layer.location_bias.assign([[0.4, -0.2]])
    mean = np.tanh([0.4, -0.2])

    grid = np.linspace(-1, 1, 81)
    places = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    maps = np.repeat(image, len(places), 0)
    scores = loop_by_numpy(layer, maps, places[:, None])["region_scores"][:, 0]
    # No label should be the best one everywhere.
    classifier = layer.region_lstm.classifier
    classifier.bias.assign_sub(scores.mean(0))
    best = (scores - scores.mean(0)).argmax(-1)
    # Places beyond the border are clipped to it: the last cells get their share.
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])

    def expected_reward(label, mean):
        reward_at = (best == label).reshape(81, 81)
        shares = [np.diff(stats.norm(m, sigma).cdf(edges)) for m in mean]
        return shares[0] @ reward_at @ shares[1]

    def derivative_of(label, step=1e-4):
        return [
            expected_reward(label, mean + move) - expected_reward(label, mean - move)
            for move in step * np.eye(2)
        ] / np.float64(2 * step)

    # The label whose reward changes most with the place.
    label = max(range(LABELS), key=lambda each: np.abs(derivative_of(each)).max())
    derivative = derivative_of(label)
    with tf.GradientTape() as tape:
        outputs = layer(image, training=True)
        labels = np.tile(np.eye(LABELS)[label], (count, 1))
        rewards = policy_gradient.reward(labels, outputs["region_scores"][:, 0])
        loss = policy_gradient.policy_loss(
            rewards,
            outputs["baselines"],
            outputs["log_probabilities"],
            tf.fill([count], True),
        )
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.location_bias))
    gradient = -gradient.numpy()[0]
    assert np.abs(derivative).max() > 0.15
    # A standard error of at most 0.5 / sigma / sqrt(count) = 0.008.
    np.testing.assert_allclose(gradient / (1 - mean**2), derivative, atol=0.03)
