"""Arrays of floats in 16 bits an entry: how far from the original they are."""

import numpy as np
import pytest

from ram_tf.storage.short_floats import LARGEST, can_shorten, lengthen, shorten


@pytest.mark.parametrize(
    ("shape", "channel"),
    [((40, 30), -1), ((40, 30), -2), ((3, 3, 20, 40), -1), ((3, 3, 60, 1), -2)],
)
def test_an_entry_is_within_half_a_step_of_its_channel(shape, channel):
    rng = np.random.default_rng(0)
    array = rng.normal(0, 1, shape).astype("float32")
    # Channels of different sizes, of which the small ones must not suffer.
    sizes = 10.0 ** rng.uniform(-4, 4, shape[channel])
    array *= sizes.reshape(-1, *[1] * (-1 - channel)).astype("float32")
    short, scale = shorten(array)
    assert short.dtype == np.int16
    axes = tuple(a for a in range(array.ndim) if a != array.ndim + channel)
    step = np.abs(array).max(axes, keepdims=True) / LARGEST
    assert (np.abs(lengthen(short, scale) - array) <= step * 0.505).all()


def test_outputs_survive_large_weights_of_small_inputs():
    # As the matrix that reads the LSTM's state: some units are kept small, and each is
    # read by one large weight; outputs add small weights of the other units to it.
    rng = np.random.default_rng(0)
    array = rng.normal(0, 0.02, (256, 256)).astype("float32")
    small = np.arange(128)
    array[small, small] = 35
    inputs = rng.normal(0, 1, (100, 256))
    inputs[:, small] /= 1000
    found, expected = inputs @ lengthen(*shorten(array)), inputs @ array
    assert np.abs(found - expected).max() < 1e-3


def test_zeros_stay_zeros():
    assert not lengthen(*shorten(np.zeros((2, 3), "float32"))).any()


def test_vectors_small_arrays_whole_numbers_and_infinite_ones_are_not_shortened():
    large = np.zeros((200, 200), "float32")
    assert can_shorten(large)
    for other in (large.ravel(), large[:9, :9], large.astype("int32"), large + np.inf):
        assert not can_shorten(other)
