"""Tests reward and policy gradient against hand-computed and integrated values."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ram_tf.models import policy_gradient


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        pytest.param([1, 0, 1, 0], [4, 1, 3, 2], 1, id="both best are present"),
        pytest.param([1, 0, 1, 0], [4, 3, 1, 2], 1 / 2, id="one of both is present"),
        pytest.param([0, 0, 1, 0], [4, 3, 1, 2], 0, id="the best is absent"),
        pytest.param([1, 1, 0, 1], [-1, -2, -3, -4], 2 / 3, id="negative scores"),
        pytest.param([1, -1, 0, 0], [3, 4, 1, 2], 1, id="unknown is not ranked"),
        pytest.param([-1, -1, 0, 1], [9, 8, 3, 1], 0, id="unknown takes no rank"),
        pytest.param([0, 1, 0, 0], [5, 5, 1, 2], 0, id="the earlier wins a tie"),
        pytest.param([1, 0, 0, 0], [5, 5, 1, 2], 1, id="and may be present"),
        pytest.param([0, 0, 0, 0], [4, 1, 3, 2], 0, id="no label"),
        pytest.param([-1, -1, -1, -1], [4, 1, 3, 2], 0, id="no known label"),
        pytest.param([1, 1, 1, 1], [4, 1, 3, 2], 1, id="every label"),
    ],
)
def test_reward_by_hand(labels, scores, expected):
    reward = policy_gradient.reward([labels], tf.constant([scores], tf.float32))
    np.testing.assert_allclose(reward, [expected])


def test_reward_equals_that_of_sorting_the_labels_of_each_image():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(-1, 2, (200, 7)), rng.normal(size=(200, 7))
    expected = []
    for row, ranked in zip(labels, scores, strict=True):
        known = np.flatnonzero(row >= 0)
        present = set(np.flatnonzero(row > 0))
        best = known[np.argsort(-ranked[known])][: len(present)]
        expected.append(len(present & set(best)) / max(1, len(present)))
    np.testing.assert_allclose(
        policy_gradient.reward(labels, scores), expected, rtol=1e-6
    )
    has = policy_gradient.has_labels(labels)
    np.testing.assert_array_equal(has, (labels > 0).any(1))


def test_log_probability_is_that_of_two_normal_distributions():
    rng = np.random.default_rng(0)
    locations, means = rng.normal(size=(2, 3, 4, 2)).astype("float32")
    expected = stats.norm(means, 0.3).logpdf(locations).sum(-1)
    actual = policy_gradient.log_probability(locations, means, 0.3)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_log_probability_has_a_gradient_for_the_mean_but_not_for_the_sample():
    location, mean = tf.constant([[0.5, -1.2]]), tf.constant([[0.1, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch([location, mean])
        value = policy_gradient.log_probability(location, mean, 0.5)
    to_location, to_mean = tape.gradient(value, [location, mean])
    assert to_location is None
    np.testing.assert_allclose(to_mean, [[0.4 / 0.25, -1.2 / 0.25]], rtol=1e-6)


REWARDS = tf.constant([1.0, 0.5, 0.0])
BASELINES = tf.constant([[0.5, 0.75], [0.25, 0.0], [0.5, 1.0]])
LOGARITHMS = tf.constant([[-1.0, -2.0], [-3.0, 1.0], [-4.0, -8.0]])
COUNTED = tf.constant([True, True, False])  # the last image has no label


def test_policy_loss_by_hand():
    # Advantages 0.5, 0.25 and 0.25, 0.5.
    expected = -((-1 * 0.5 - 2 * 0.25) + (-3 * 0.25 + 1 * 0.5)) / 3
    loss = policy_gradient.policy_loss(REWARDS, BASELINES, LOGARITHMS, COUNTED)
    np.testing.assert_allclose(loss, expected)


def test_the_advantage_is_relative_to_the_other_episodes_of_the_image():
    # Two images of three episodes, T = 2.
    rewards = tf.constant([1.0, 0.5, 0.0, 0.0, 1.0, 0.0])
    baselines = tf.constant([[0.0] * 2, [0, 0.25], [0] * 2, [0] * 2, [0] * 2, [1] * 2])
    # R - b: (1, 1), (1/2, 1/4), (0, 0) of the first image, 0, 1, -1 of the second.
    first = [1 - 1 / 4, 1 - 1 / 8], [1 / 2 - 1 / 2, 1 / 4 - 1 / 2], [-3 / 4, -5 / 8]
    second = [0.0, 0.0], [1 + 1 / 2, 1 + 1 / 2], [-1 - 1 / 2, -1 - 1 / 2]
    expected = [*first, *second]
    found = policy_gradient.advantages(rewards, baselines, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_advantage_of_a_single_episode_is_relative_to_the_baseline_only():
    found = policy_gradient.advantages(REWARDS, BASELINES)
    np.testing.assert_allclose(found, REWARDS[:, None] - BASELINES)


def test_baseline_loss_by_hand():
    expected = ((0.5**2 + 0.25**2) / 2 + (0.25**2 + 0.5**2) / 2) / 3
    loss = policy_gradient.baseline_loss(REWARDS, BASELINES, COUNTED)
    np.testing.assert_allclose(loss, expected)


def test_the_baseline_is_trained_by_its_error_and_not_by_the_policy_loss():
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([BASELINES, LOGARITHMS])
        policy = policy_gradient.policy_loss(REWARDS, BASELINES, LOGARITHMS, COUNTED)
        error = policy_gradient.baseline_loss(REWARDS, BASELINES, COUNTED)
    assert tape.gradient(policy, BASELINES) is None
    gradient = tape.gradient(error, BASELINES)
    expected = (BASELINES - REWARDS[:, None]).numpy() / 3
    expected[2] = 0
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    # d -mean_i sum_t log pi (R - b): the advantage, none without a label.
    gradient = tape.gradient(policy, LOGARITHMS)
    np.testing.assert_allclose(gradient[2], [0, 0])
    np.testing.assert_allclose(gradient[0], [-0.5 / 3, -0.25 / 3], rtol=1e-6)


@pytest.mark.parametrize(("baseline", "episodes"), [(0.0, 1), (0.7, 1), (0.7, 4)])
def test_its_gradient_is_the_derivative_of_the_expected_reward(baseline, episodes):
    # The reward is 1 right of 0.3: E[R] = Phi((m - 0.3) / sigma) for any baseline.
    sigma, count = 0.2, 400_000
    mean = tf.Variable([0.2, -0.4])
    noise = np.random.default_rng(0).normal(0, sigma, (count, 1, 2))
    locations = mean.numpy() + noise.astype("float32")
    rewards = tf.cast(locations[:, 0, 0] > 0.3, tf.float32)
    with tf.GradientTape() as tape:
        logarithms = policy_gradient.log_probability(locations, mean, sigma)
        loss = policy_gradient.policy_loss(
            rewards,
            tf.fill([count, 1], baseline),
            logarithms,
            tf.fill([count], True),
            episodes,
        )
    expected = stats.norm.pdf((0.2 - 0.3) / sigma) / sigma
    # The estimate's standard error is below 0.006.
    gradient = -tape.gradient(loss, mean).numpy()
    np.testing.assert_allclose(gradient, [expected, 0], atol=0.025)


def test_a_present_label_with_a_score_of_minus_infinity_earns_no_reward():
    scores = tf.constant([[-math.inf, 0.0, -5.0]])
    np.testing.assert_allclose(policy_gradient.reward([[1, 0, 0]], scores), [0])
