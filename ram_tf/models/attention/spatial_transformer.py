"""The spatial transformer, which samples the region theta of a feature map."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

WHOLE_MAP = (1.0, 1.0, 0.0, 0.0)  # s_x, s_y, t_x, t_y of M_0


def hat_weights(scale, translation, samples, cells):
    """Computes the bilinear weights of `samples` points along an axis of `cells` cells.

    A bilinear sample on an axis-aligned grid is separable: along each axis, point x
    weights cell j by `relu(1 - |x - j|)`. Written as a matrix, sampling becomes a
    product that has exact gradients and runs under XLA, in half precision and in every
    export format, which `tf.image.crop_and_resize` does not.

    Args:
        scale: `(B, ...)` s of Eq. 1; a negative one mirrors.
        translation: `(B, ...)` t of Eq. 1; -1 and 1 are the borders of the map.
        samples: m, number of points: the centres of m equal parts of the region, which
            reaches from `t - s` to `t + s`.
        cells: n, number of cells of the map along the axis (int or scalar tensor).

    Returns:
        `(B, ..., samples, cells)` float32. The map is padded by one repetition of its
        outermost cells, then by zeros: up to half a cell beyond the border the
        outermost cell has weight 1, which then falls linearly to 0 within one cell.
    """
    count = tf.cast(cells, tf.float32)
    # In cells from the centre of the first one. Computed in this order, s = 1, t = 0
    # and m = n give integers without rounding.
    steps = tf.range(samples, dtype=tf.float32) + (0.5 - samples / 2)
    points = scale[..., None] * (count / samples) * steps
    points += (translation[..., None] * count + count - 1.0) / 2.0
    points = points[..., None]  # (B, ..., samples, 1)
    cell = tf.range(count)
    # A cell lies at one point; the first and the last, with their repetitions, at all
    # points of an interval. This is relu(1 - |distance|) with the right derivative at
    # its kinks, the difference of the two cells there. TensorFlow's would be 0: a point
    # that lies on a cell, as all points of the whole map may, would have no gradient.
    first = tf.where(cell == 0.0, -1.0, cell)
    last = tf.where(cell == count - 1.0, count, cell)
    # All comparisons are false for NaN, which must reach the loss to be detected.
    hat = tf.where(points < last, 1.0, 1.0 + last - points)
    hat = tf.where(points < first, 1.0 - first + points, hat)
    return tf.where((points < first - 1.0) | (points >= last + 1.0), 0.0, hat)


def sample_region(maps, theta, size):
    """Samples the region `theta` of each map bilinearly (section 3.1, Eq. 1-2).

    Sample centres are half-pixel as in `tf.image.resize`: sample i of m is the centre
    of the i-th of m equal parts of the region, so that sampling the whole map at its
    own size returns the map. See `hat_weights` for the padding.

    Args:
        maps: `(B, H, W, C)` feature maps, of any float type.
        theta: `(B, 4)` `s_x, s_y, t_x, t_y`, or `(B, R, 4)` for R regions of each map.
            Coordinates run from -1 to 1, from border to border of the map, x right and
            y down.
        size: `(h, w)` of the sampled region.

    Returns:
        `(B, h, w, C)` or `(B, R, h, w, C)` in the type of `maps`.
    """
    # Coordinates need float32: half precision has too few digits.
    theta = tf.cast(theta, tf.float32)
    shape = tf.shape(maps)
    height = maps.shape[1] or shape[1]
    width = maps.shape[2] or shape[2]
    s_x, s_y, t_x, t_y = tf.unstack(theta, axis=-1)
    rows = hat_weights(s_y, t_y, size[0], height)  # (B, [R], h, H)
    columns = hat_weights(s_x, t_x, size[1], width)  # (B, [R], w, W)
    rows, columns = tf.cast(rows, maps.dtype), tf.cast(columns, maps.dtype)
    # A plain matrix product, since the gradient of an einsum would transpose the maps.
    regions = [theta.shape[1] or tf.shape(theta)[1]] * (theta.shape.rank - 2)
    rows = tf.reshape(rows, [-1, math.prod(regions) * size[0], height])
    flat = tf.reshape(maps, [-1, height, width * maps.shape[-1]])
    lines = tf.reshape(
        tf.matmul(rows, flat), [-1, *regions, size[0], width, maps.shape[-1]]
    )
    # Broadcasts over the lines, for the same reason.
    return tf.matmul(columns[..., None, :, :], lines)  # (B, [R], h, w, C)


def theta_to_matrix(theta):
    """Converts `(..., 4)` theta to the `(..., 2, 3)` matrices of Eq. 1."""
    s_x, s_y, t_x, t_y = tf.unstack(theta, axis=-1)
    zero = tf.zeros_like(s_x)
    return tf.stack(
        [tf.stack([s_x, zero, t_x], -1), tf.stack([zero, s_y, t_y], -1)], -2
    )


def matrix_to_box(matrices, clip=True):
    """Returns the box of the map that each region covers.

    A region covers the box whose equal parts have the samples at their centres.

    Args:
        matrices: `(..., 2, 3)` of Eq. 1.
        clip: Whether to clip the box to the map.

    Returns:
        `(..., 4)` `ymin, xmin, ymax, xmax` as fractions of the map: from
        `(t - |s| + 1) / 2` to `(t + |s| + 1) / 2`.
    """
    scale = tf.abs(tf.stack([matrices[..., 1, 1], matrices[..., 0, 0]], -1))
    centre = tf.stack([matrices[..., 1, 2], matrices[..., 0, 2]], -1)
    box = (tf.concat([centre - scale, centre + scale], -1) + 1.0) / 2.0
    return tf.clip_by_value(box, 0.0, 1.0) if clip else box


def box_to_theta(boxes):
    """Returns the theta whose region covers a box: the inverse of `matrix_to_box`.

    Args:
        boxes: `(..., 4)` `ymin, xmin, ymax, xmax` as fractions of the map; they may
            extend beyond it.

    Returns:
        `(..., 4)` `s_x, s_y, t_x, t_y`.
    """
    top, left, bottom, right = tf.unstack(boxes, axis=-1)
    return tf.stack(
        [right - left, bottom - top, left + right - 1.0, top + bottom - 1.0], -1
    )


@keras.saving.register_keras_serializable(package="ram_tf")
class SpatialTransformer(keras.layers.Layer):
    """Samples an attentional region from a feature map (paper, section 3.1).

    See `sample_region`; both the map and theta get gradients.

    Args:
        size: `(h, w)` of the sampled region. The paper does not specify it; 14x14 here,
            so that a 2x2 max-pool gives the 7x7 of VGG-16's fc6.

    Call arguments:
        maps: `(B, H, W, C)`; H and W may be unknown.
        theta: `(B, 4)` `s_x, s_y, t_x, t_y`.

    Returns:
        `(B, h, w, C)` in the layer's compute type.

    Example:
        >>> import tensorflow as tf
        >>> maps = tf.reshape(tf.range(9.0), [1, 3, 3, 1])
        >>> corner = tf.constant([[1/3, 1/3, 2/3, 2/3]])
        >>> float(SpatialTransformer((1, 1))(maps, corner)[0, 0, 0, 0])  # the last cell
        8.0

    Reference:
        Jaderberg et al., Spatial Transformer Networks, 2015; here restricted to
        cropping, translation and scaling (Eq. 1).
    """

    def __init__(self, size: Sequence[int] = (14, 14), **kwargs: Any):
        # Keras would cast theta to half precision, too.
        super().__init__(autocast=False, **kwargs)
        self.size = tuple(size)

    def call(self, maps: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return sample_region(tf.cast(maps, self.compute_dtype), theta, self.size)

    def compute_output_shape(
        self, maps_shape: tuple[int | None, ...], theta_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return (maps_shape[0], *self.size, maps_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
