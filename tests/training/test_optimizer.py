"""Tests of Adam with scaled learning rates, and of its schedules."""

import keras
import numpy as np
import pytest

from ram_tf.training.optimizer import Adam, _schedule


def steps(optimizer, start, gradients):
    """Returns the variables after one step for each of the gradients."""
    variables = [keras.Variable(value) for value in start]
    optimizer = optimizer(variables)
    for gradient in gradients:
        optimizer.apply(list(gradient), variables)
    return [variable.numpy() for variable in variables]


@pytest.fixture
def start():
    return np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


@pytest.fixture
def gradients():
    return np.random.default_rng(1).normal(size=(4, 2, 3)).astype("float32")


def test_without_scales_adam_equals_that_of_keras(start, gradients):
    ours = steps(lambda _: Adam(0.01), start, gradients)
    keras_ = steps(lambda _: keras.optimizers.Adam(0.01), start, gradients)
    np.testing.assert_array_equal(ours, keras_)


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_a_scaled_variable_moves_scale_times_as_far_and_others_do_not(
    start, gradients, scale
):
    ours = steps(lambda v: Adam(0.01, [([v[1]], scale)]), start, gradients)
    keras_ = steps(lambda _: keras.optimizers.Adam(0.01), start, gradients)
    np.testing.assert_array_equal(ours[0], keras_[0])
    moved, usual = ours[1] - start[1], keras_[1] - start[1]
    np.testing.assert_allclose(moved, scale * usual, rtol=1e-4, atol=1e-7)


def test_a_scale_of_zero_holds_the_variable(start, gradients):
    ours = steps(lambda v: Adam(0.01, [([v[0]], 0.0)]), start, gradients)
    np.testing.assert_array_equal(ours[0], start[0])
    assert np.abs(ours[1] - start[1]).min() > 1e-4


def test_each_group_of_variables_has_its_own_scale(start, gradients):
    ours = steps(lambda v: Adam(0.01, [([v[1]], 0.5), ([v[0]], 2.0)]), start, gradients)
    keras_ = steps(lambda _: keras.optimizers.Adam(0.01), start, gradients)
    for i, scale in enumerate([2.0, 0.5]):
        expected = scale * (keras_[i] - start[i])
        np.testing.assert_allclose(ours[i] - start[i], expected, rtol=1e-4, atol=1e-7)


def test_scales_apply_with_a_schedule_and_compiled_training(start):
    x = np.random.default_rng(2).normal(size=(8, 3)).astype("float32")
    y = np.random.default_rng(3).normal(size=(8, 2)).astype("float32")
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 10)
    ends = []
    for scaled in (True, False):
        dense = keras.layers.Dense(2)
        model = keras.Sequential([keras.Input((3,)), dense])
        dense.set_weights([np.ones((3, 2)), np.zeros(2)])
        scales = [([dense.bias], 0.0)] if scaled else ()
        # Only one step, because afterwards the gradients of the two models differ.
        model.compile(Adam(schedule, scales), "mse")
        model.fit(x, y, batch_size=8, verbose=0)
        ends.append(dense.get_weights())
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][1], np.zeros(2))
    np.testing.assert_allclose(np.abs(ends[1][1]), 0.01, rtol=1e-3)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", [1e-5, 1e-5, 1e-6, 1e-6]),  # divided by 10 after two thirds
        ("constant", [1e-5] * 4),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule, expected):
    optimizer = keras.optimizers.Adam(_schedule(schedule, 1e-5, 45))
    rates = []
    for step in (0, 30, 31, 44):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
