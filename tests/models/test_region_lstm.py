"""Tests the scoring of one region: pooling, the cell of Eq. 4 and `RegionLSTM`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models.attention.region_lstm import (
    MemorizedAttentionCell,
    RegionLSTM,
    pool_region,
)
from tests.support.numpy_reference import cell_by_numpy, read_by_numpy


def test_cell_equals_equation_4_without_tanh_on_the_memory():
    rng = np.random.default_rng(0)
    cell = MemorizedAttentionCell(5)
    cell.build((None, 3))
    weights = [rng.normal(size=w.shape).astype("float32") for w in cell.get_weights()]
    cell.set_weights(weights)
    x, hidden = rng.normal(size=(2, 3)), rng.normal(size=(2, 5))
    memory = 3 * rng.normal(size=(2, 5))  # where tanh is far from linear
    output, states = cell(
        tf.constant(x, tf.float32),
        [tf.constant(s, tf.float32) for s in (hidden, memory)],
    )
    expected = cell_by_numpy(weights, x, hidden, memory)
    np.testing.assert_allclose(output, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(states[0], output)
    np.testing.assert_allclose(states[1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "other", [{"activation": "relu"}, {"dropout": 0.2}, {"use_bias": False}], ids=str
)
def test_cell_refuses_what_equation_4_does_not_have(other):
    (name,) = other
    with pytest.raises(ValueError, match=f"{name} contradicts Eq. 4"):
        MemorizedAttentionCell(5, **other)


def test_pooling_by_hand():
    region = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_allclose(pool_region(region, "average"), [[7.5]])
    np.testing.assert_allclose(pool_region(region, "max"), [[15]])
    np.testing.assert_allclose(pool_region(region, "flatten"), [[5, 7, 13, 15]])


def test_centre_pooling_has_the_weights_of_a_hann_window():
    corner, middle = np.zeros((2, 1, 3, 3, 1), "float32")
    corner[0, 0, 0] = middle[0, 1, 1] = 1
    # sin^2 of 45, 90 and 135 degrees along each axis: 1/2, 1, 1/2, in sum 2.
    np.testing.assert_allclose(pool_region(corner, "centre"), [[1 / 16]], rtol=1e-6)
    np.testing.assert_allclose(pool_region(middle, "centre"), [[1 / 4]], rtol=1e-6)


@pytest.mark.parametrize(("pooling", "layout"), [("flatten", 0), ("centre", 3)])
def test_layer_equals_equations_3_to_5(pooling, layout):
    rng = np.random.default_rng(0)
    layer = RegionLSTM(3, 6, pooling, layout)
    layer.build((None, 4, 5, 2))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    region = rng.normal(size=(2, 4, 5, 2)).astype("float32")
    states = rng.normal(size=(2, 2, 6)).astype("float32")
    actual = layer(region, list(states))
    expected = read_by_numpy(layer, region, states)
    assert actual[2].keys() == expected[2].keys()
    for one, other in zip(
        tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_region_lstm_is_restored_from_its_config():
    layer = RegionLSTM(3, 6, "max", 2, 0.25)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert again.get_config() == layer.get_config()
