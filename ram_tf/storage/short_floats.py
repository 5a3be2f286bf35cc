"""Arrays of floats, kept with 16 bits an entry instead of 32.

An entry is a whole number from -32767 to 32767 times the scale of its channel. On bell
shaped weights this rounds six times more finely than the type float16.
"""

import numpy as np

LARGEST = np.iinfo(np.int16).max
# Ours: smaller arrays stay as they are. They are a few per cent of a network, and among
# them are its first layers, whose rounding changes the scores most.
SMALLEST_SIZE = 1 << 14


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
        array: Finite float32 of two or more axes. Its channels lie along the last axis,
            or along the one before if that has one entry, as in depthwise kernels.

    Returns:
        The int16 array of the same shape, and the float32 scales of its channels, which
        broadcast against it.
    """
    channels = array.ndim - (2 if array.shape[-1] == 1 else 1)
    others = tuple(axis for axis in range(array.ndim) if axis != channels)
    scale = np.abs(array).max(others, keepdims=True) / LARGEST
    scale[scale == 0] = 1
    return np.round(array / scale).astype(np.int16), scale.astype(np.float32)


def lengthen(short, scale):
    """Returns the float32 array that `shorten` has rounded."""
    return short.astype(np.float32) * scale
