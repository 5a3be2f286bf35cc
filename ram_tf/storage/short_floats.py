"""Arrays of floats, kept with 16 bits an entry instead of 32.

An entry is a whole number from -32767 to 32767 times the scale of its channel, an
output or an input of the layer. On bell shaped weights this rounds six times more
finely than the type float16.
"""

import numpy as np

LARGEST = np.iinfo(np.int16).max
# Ours: smaller arrays stay as they are. They are a few per cent of a network, and the
# operations that lengthen one take as much of the file as is won.
SMALLEST_SIZE = 1 << 12


def can_shorten(array):
    """Whether `shorten` is meant for an array: large, of finite floats."""
    return (
        array.dtype == np.float32
        and array.ndim > 1
        and array.size >= SMALLEST_SIZE
        and bool(np.isfinite(array).all())
    )


def shorten(array):
    """Rounds an array to 16 bits an entry.

    >>> short, scale = shorten(np.float32([[1.0, -0.5], [0.25, 0.125]]))
    >>> short
    array([[ 32767, -32767],
           [  8192,   8192]], dtype=int16)
    >>> lengthen(short, scale).round(3)
    array([[ 1.   , -0.5  ],
           [ 0.25 ,  0.125]], dtype=float32)

    Args:
        array: Finite float32 of two or more axes. The last two are the inputs and the
            outputs of a layer; a depthwise kernel, whose last axis has one entry, has
            one channel for both.

    Returns:
        The int16 array of the same shape, and the float32 scales of its channels, which
        broadcast against it. The channels are the outputs or the inputs, whichever
        changes what the layer computes less.
    """
    if array.shape[-1] == 1:
        return _shorten(array, array.ndim - 2)
    candidates = [_shorten(array, array.ndim - axis) for axis in (1, 2)]
    return min(candidates, key=lambda rounded: _output_error(array, *rounded))


def _shorten(array, channels):
    scale = _largest(array, channels) / LARGEST
    scale[scale == 0] = 1
    return np.round(array / scale).astype(np.int16), scale.astype(np.float32)


def _largest(array, kept):
    others = tuple(axis for axis in range(array.ndim) if axis != kept)
    return np.abs(array).max(others, keepdims=True)


def _output_error(array, short, scale):
    # The mean relative error of an output, if inputs are the smaller, the larger their
    # weights are: a state that is kept small is read with large weights, next to which
    # a scale for each output would round the weights of the other inputs coarsely.
    weight_of_input = _largest(array, array.ndim - 2)
    weight_of_input[weight_of_input == 0] = 1
    balanced = (array / weight_of_input).reshape(-1, array.shape[-1])
    error = ((lengthen(short, scale) - array) / weight_of_input).reshape(balanced.shape)
    size = np.square(balanced).sum(0)
    return np.mean(np.square(error).sum(0) / np.where(size == 0, 1, size))


def lengthen(short, scale):
    """Returns the float32 array that `shorten` has rounded."""
    return short.astype(np.float32) * scale
