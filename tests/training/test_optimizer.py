"""Adam with scaled rates against Keras' own."""

import keras
import numpy as np
import pytest

from ram_tf.training.optimizer import Adam


def steps(optimizer, start, gradients):
    """Where a few steps with these gradients lead, one array per variable."""
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


def test_without_scales_it_is_keras_adam(start, gradients):
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


def test_groups_have_scales_of_their_own(start, gradients):
    ours = steps(lambda v: Adam(0.01, [([v[1]], 0.5), ([v[0]], 2.0)]), start, gradients)
    keras_ = steps(lambda _: keras.optimizers.Adam(0.01), start, gradients)
    for i, scale in enumerate([2.0, 0.5]):
        expected = scale * (keras_[i] - start[i])
        np.testing.assert_allclose(ours[i] - start[i], expected, rtol=1e-4, atol=1e-7)


def test_scales_hold_with_a_schedule_and_compiled_training(start):
    x = np.random.default_rng(2).normal(size=(8, 3)).astype("float32")
    y = np.random.default_rng(3).normal(size=(8, 2)).astype("float32")
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 10)
    ends = []
    for scaled in (True, False):
        dense = keras.layers.Dense(2)
        model = keras.Sequential([keras.Input((3,)), dense])
        dense.set_weights([np.ones((3, 2)), np.zeros(2)])
        scales = [([dense.bias], 0.0)] if scaled else ()
        # One step: afterwards the gradients of the two differ.
        model.compile(Adam(schedule, scales), "mse")
        model.fit(x, y, batch_size=8, verbose=0)
        ends.append(dense.get_weights())
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][1], np.zeros(2))
    np.testing.assert_allclose(np.abs(ends[1][1]), 0.01, rtol=1e-3)
