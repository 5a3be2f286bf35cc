"""Tests the sampler by hand and against SciPy, resizing, PyTorch and Addons."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models.attention.spatial_transformer import (
    SpatialTransformer,
    box_to_theta,
    sample_region,
)
from tests.support.numpy_reference import sample_by_numpy
from tests.support.paths import FILES

WHOLE = [1.0, 1.0, 0.0, 0.0]


def load(name):
    with np.load(FILES / name) as arrays:
        return dict(arrays)


def matrix_to_theta(matrices):
    """Converts matrices `(B, 2, 3)` to the theta `(B, 4)` of `sample_region`."""
    cells = [(0, 0), (1, 1), (0, 2), (1, 2)]
    return np.stack([matrices[:, i, j] for i, j in cells], -1)


def random_maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gradients_of_squares(maps, theta, size, sample=sample_region):
    maps, theta = tf.constant(maps), tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch([maps, theta])
        loss = tf.reduce_sum(sample(maps, theta, size) ** 2)
    return tape.gradient(loss, [maps, theta])


def assert_relatively_close(actual, expected, tolerance=1e-5):
    """Compares relative to the largest entry, whose rounding small ones inherit."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def test_sampling_several_regions_of_a_map_equals_sampling_each_separately():
    maps = random_maps(2, 5, 6, 3)
    theta = np.random.default_rng(1).normal(size=(2, 4, 4)).astype("float32")
    output = sample_region(maps, theta, (3, 2))
    alone = [sample_region(maps, theta[:, r], (3, 2)) for r in range(4)]
    np.testing.assert_allclose(output, np.stack(alone, 1), rtol=1e-5, atol=1e-6)


# Mirrored regions, regions that extend beyond the padding, and a point.
REGIONS = np.array(
    [
        [0.52, 0.31, 0.23, -0.37],
        [-0.73, 0.92, 0.31, 0.13],
        [0.59, -0.41, -0.29, 0.53],
        [1.71, 1.43, 0.33, -0.19],
        [-0.83, 0.47, -1.13, 0.91],
        [0.0, 0.0, 1.07, -1.13],
    ],
    "float32",
)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 9)])
@pytest.mark.parametrize("cells", [(8, 11), (2, 3), (1, 1)])
def test_regions_equal_interpolation_by_scipy(cells, size):
    maps = random_maps(len(REGIONS), *cells, 3)
    output = sample_region(maps, REGIONS, size)
    expected = sample_by_numpy(maps, REGIONS, size)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_gradients_equal_differences_of_interpolation_by_scipy():
    maps, size, step = random_maps(len(REGIONS), 8, 11, 3), (4, 3), 1e-4
    weights = random_maps(len(REGIONS), *size, 3, seed=1)

    def weighted(maps, theta):
        return (weights * sample_by_numpy(maps, theta, size)).sum((1, 2, 3))

    theta = np.float64(REGIONS)
    by_theta = np.zeros_like(theta)
    for entry, by_entry in zip(np.eye(4) * step, by_theta.T, strict=True):
        change = weighted(maps, theta + entry) - weighted(maps, theta - entry)
        by_entry[:] = change / (2 * step)
    # No point crosses a kink: all are further from one than they were moved.
    parts = [(np.arange(m) + 0.5) / m * 2 - 1 for m in size[::-1]]
    for axis, (part, cells) in enumerate(zip(parts, (11, 8), strict=True)):
        points = theta[:, axis, None] * part + theta[:, axis + 2, None]
        from_cell = (points + 1) / 2 * cells - 0.5
        assert np.abs(from_cell - from_cell.round()).min() > 1e-3
    inputs = tf.constant(maps), tf.constant(REGIONS)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(weights * sample_region(*inputs, size))
    found = tape.gradient(loss, inputs)
    assert_relatively_close(found[1], by_theta)
    # Sampling is linear in the map: the gradient times a change is the sampled change.
    change = random_maps(*maps.shape, seed=2)
    by_change = (found[0] * change).numpy().sum((1, 2, 3))
    np.testing.assert_allclose(by_change, weighted(change, REGIONS), atol=1e-4)


# For points of a map of these four cells, in cells from the centre of the first one:
# the value and the slope to the right.
CELLS = [2.0, 5.0, 3.0, 7.0]
KINKS = {
    -2: (0, 2),  # from zero to the repeated cell
    -1: (2, 0),  # the repeated cell
    0: (2, 3),
    1: (5, -2),
    2: (3, 4),
    3: (7, 0),
    4: (7, -7),
    5: (0, 0),
}


@pytest.mark.parametrize("axis", ["x", "y"])
def test_at_a_kink_the_derivative_is_that_to_the_right(axis):
    line = np.reshape(CELLS, (1, 1, 4, 1) if axis == "x" else (1, 4, 1, 1))
    theta = np.zeros((len(KINKS), 4), "float32")
    # -1 is half a cell before the first one's centre, and 4 cells are 2 units.
    theta[:, 2 + "xy".index(axis)] = (np.array([*KINKS]) + 0.5) / 2 - 1
    theta, maps = tf.constant(theta), np.repeat(line, len(KINKS), 0).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(theta)
        output = sample_region(maps, theta, (1, 1))
    values, slopes = np.transpose([*KINKS.values()])
    np.testing.assert_array_equal(np.ravel(output), values)
    gradient = tape.gradient(output, theta)[:, 2 + "xy".index(axis)]
    np.testing.assert_array_equal(gradient, slopes * 2.0)


# The golden values use aligned corners: -1 and 1 are the centres of the first and the
# last cell, with zeros beyond. Their regions include mirrored ones (negative scales)
# and ones that extend beyond the map.


def sample_aligned(maps, theta, size, ring=1, right=0.0):
    """Samples regions whose theta is one of aligned corners.

    Args:
        maps: `(B, H, W, C)`.
        theta: `(B, 4)`, of aligned corners.
        size: `(h, w)`.
        ring: Width in cells of a border of zeros. The sampler's padding then repeats
            zeros, as the golden values have it.
        right: Shift of all points in cells.
    """
    maps = tf.pad(maps, [[0, 0], [ring, ring], [ring, ring], [0, 0]])
    wide = np.array(maps.shape[2:0:-1], "float32")  # x first, as in theta
    samples = np.array(size[::-1], "float32")
    inner = (wide - 2 * ring - 1) / wide
    scale = theta[:, :2] * inner * samples / np.maximum(samples - 1, 1)
    translation = theta[:, 2:] * inner + 2 * right / wide
    return sample_region(maps, tf.concat([scale, translation], -1), size)


def inside(theta, size):
    """Returns which samples of `sample_aligned` lie on the map: `(B, h, w)`."""
    x, y = (
        np.abs(theta[:, axis, None] * np.linspace(-1, 1, m) + theta[:, axis + 2, None])
        for axis, m in enumerate(size[::-1])
    )
    return (y[:, :, None] <= 1) & (x[:, None] <= 1)


def assert_aligned(maps, theta, expected):
    """Compares all samples with a border of zeros, and those on the map without."""
    size = expected.shape[1:3]
    np.testing.assert_allclose(sample_aligned(maps, theta, size), expected, atol=1e-5)
    output, on_map = sample_aligned(maps, theta, size, ring=0), inside(theta, size)
    assert on_map.mean() > 0.5
    np.testing.assert_allclose(output[on_map], expected[on_map], atol=1e-5)


def test_regions_equal_grid_sample_of_pytorch():
    golden = load("grid_sample.npz")
    assert_aligned(golden["maps"], matrix_to_theta(golden["theta"]), golden["output"])


def test_gradients_equal_grid_sample_of_pytorch():
    golden = load("grid_sample.npz")
    theta, size = matrix_to_theta(golden["theta"]), golden["output"].shape[1:3]

    def sample(maps, theta, size):
        # PyTorch has the right derivative at cells, too, but the conversion rounds some
        # of the many points there to the left.
        return sample_aligned(maps, theta, size, right=1e-5)

    by_maps, by_theta = gradients_of_squares(golden["maps"], theta, size, sample)
    assert_relatively_close(by_maps, golden["grad_maps"], 1e-4)
    assert_relatively_close(by_theta, matrix_to_theta(golden["grad_theta"]), 1e-4)


def test_regions_equal_crops_of_tensorflow_addons():
    golden = load("addons.npz")
    assert_aligned(golden["crop_maps"], golden["crop_theta"], golden["crop_output"])


@pytest.fixture
def resampler():
    """Returns each of the resampler's points as a region of a single sample."""
    golden = load("addons.npz")
    batch, height, width, channels = golden["resampler_images"].shape
    x, y = golden["resampler_warp"].reshape(-1, 2).T
    points = np.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
    theta = np.concatenate([np.ones_like(points), points], -1).astype("float32")
    each = len(theta) // batch
    return golden, np.repeat(golden["resampler_images"], each, 0), theta, channels


def test_single_points_equal_the_resampler_of_tensorflow_addons(resampler):
    golden, maps, theta, channels = resampler
    expected = golden["resampler_output"].reshape(-1, 1, 1, channels)
    output = sample_aligned(maps, theta, (1, 1))
    np.testing.assert_allclose(output, expected, atol=1e-5)
    on_map = (np.abs(theta[:, 2:]) <= 1).all(1)
    output = sample_aligned(maps, theta, (1, 1), ring=0)
    np.testing.assert_allclose(output[on_map], expected[on_map], atol=1e-5)


def test_gradients_of_points_equal_the_resampler_of_tensorflow_addons(resampler):
    golden, maps, theta, _ = resampler
    by_maps, by_theta = gradients_of_squares(maps, theta, (1, 1), sample_aligned)
    batch, height, width, _ = golden["resampler_images"].shape
    by_images = by_maps.numpy().reshape(batch, -1, *maps.shape[1:]).sum(1)
    assert_relatively_close(by_images, golden["resampler_grad_images"])
    pixels = by_theta.numpy()[:, 2:] * 2 / np.array([width - 1, height - 1])
    assert_relatively_close(pixels, golden["resampler_grad_warp"].reshape(-1, 2))


@pytest.mark.parametrize("edges", [(1, 1), (5, 7), (13, 28), (41, 47)])
def test_the_whole_map_at_its_own_size_is_exactly_the_map(edges):
    maps = random_maps(2, *edges, 3)
    np.testing.assert_array_equal(sample_region(maps, [WHOLE] * 2, edges), maps)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 8), (11, 6), (9, 15), (10, 32)])
def test_the_whole_map_at_any_size_equals_resizing_by_tensorflow(size):
    maps = random_maps(2, 5, 8, 3)
    expected = tf.image.resize(maps, size, "bilinear", antialias=False)
    output = sample_region(maps, [WHOLE] * 2, size)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_sampling_a_box_of_whole_cells_returns_these_cells():
    maps = random_maps(1, 8, 10, 2)
    # Rows 2 to 6 of 8, columns 1 to 4 of 10.
    theta = box_to_theta(tf.constant([[0.25, 0.1, 0.75, 0.4]]))
    output = sample_region(maps, theta, (4, 3))
    np.testing.assert_allclose(output, maps[:, 2:6, 1:4], atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_negative_scale_mirrors_its_axis(axis):
    maps, theta = random_maps(1, 4, 6, 2), np.array([WHOLE], "float32")
    theta[0, axis] = -1
    output = sample_region(maps, theta, (4, 6))
    np.testing.assert_allclose(output, np.flip(maps, 2 - axis), atol=1e-6)


def test_x_is_first_and_runs_right_and_y_runs_down():
    maps = np.zeros((1, 4, 8, 1), "float32")
    maps[0, 2, 7] = 1  # the third of 4 rows, the last of 8 columns
    point = [0.0, 0.0, 0.875, 0.25]
    np.testing.assert_allclose(sample_region(maps, [point], (1, 1)), [[[[1]]]])


def test_padding_is_constant_for_half_a_cell_and_falls_to_zero_within_one():
    maps = np.ones((1, 5, 5, 1), "float32")
    beyond = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]  # cells beyond the border
    theta = [[0.0, 0.0, 1 + 2 / 5 * distance, 0.0] for distance in beyond]
    output = sample_region(np.repeat(maps, len(beyond), 0), theta, (1, 1))
    expected = [1.0, 1.0, 1.0, 0.75, 0.5, 0.0, 0.0]
    np.testing.assert_allclose(output[:, 0, 0, 0], expected, atol=1e-6)


def test_a_map_of_one_cell_can_be_sampled():
    output = sample_region(np.full((1, 1, 1, 2), 3.0, "float32"), [WHOLE], (2, 2))
    np.testing.assert_allclose(output, np.full((1, 2, 2, 2), 3.0))


@pytest.mark.parametrize("edge", [1, 3])
@pytest.mark.parametrize("entry", range(4))
def test_a_region_of_nan_gives_nan(entry, edge):
    theta = np.array([[0.5, 0.5, 0.0, 0.0]], "float32")
    theta[0, entry] = np.nan
    output = sample_region(random_maps(1, edge, edge, 1), theta, (2, 2))
    assert np.isnan(output).all()


def test_unknown_batch_height_and_width_sample_the_same():
    layer = SpatialTransformer((3, 4))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 2]),
            tf.TensorSpec([None, 4]),
        ]
    )
    def sample(maps, theta):
        output = layer(maps, theta)
        assert output.shape.as_list() == [None, 3, 4, 2]
        return output

    for shape in [(1, 5, 6, 2), (3, 9, 4, 2)]:
        maps = random_maps(*shape)
        theta = np.array([[0.5, -0.7, 0.3, -0.6]] * len(maps), "float32")
        np.testing.assert_allclose(
            sample(maps, theta), sample_region(maps, theta, (3, 4)), atol=1e-6
        )


def test_xla_samples_and_differentiates_the_same():
    maps = tf.constant(random_maps(2, 6, 7, 3))
    theta = tf.constant([[0.52, 0.41, 0.23, -0.37], [-0.63, 1.31, 0.11, 0.17]])

    @tf.function(jit_compile=True)
    def compiled(maps, theta):
        output = sample_region(maps, theta, (5, 5))
        return output, *tf.gradients(output**2, [maps, theta])

    output, by_maps, by_theta = compiled(maps, theta)
    np.testing.assert_allclose(output, sample_region(maps, theta, (5, 5)), atol=1e-5)
    expected = gradients_of_squares(maps, theta, (5, 5))
    assert_relatively_close(by_maps, expected[0])
    assert_relatively_close(by_theta, expected[1])


@pytest.mark.parametrize(("dtype", "digits"), [("bfloat16", 8), ("float16", 11)])
def test_half_precision_maps_are_sampled_to_their_own_precision(dtype, digits):
    maps = random_maps(2, 20, 20, 3)
    # So near the last cell that coordinates in half precision would be wrong by a tenth
    # of a cell.
    theta = np.array([[0.013, 0.017, 0.9013, 0.8967]] * 2, "float32")
    output = sample_region(tf.cast(maps, dtype), theta, (5, 5))
    assert output.dtype == dtype
    expected = sample_region(maps, theta, (5, 5))
    # Map, weights and the two sums each round once.
    tolerance = 4 * 2.0**-digits * np.abs(maps).max()
    np.testing.assert_allclose(
        tf.cast(output, "float32"), expected, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_coordinates_in_float32(policy):
    maps = random_maps(1, 20, 20, 3)
    theta = tf.constant([[0.013, 0.017, 0.9013, 0.8967]])
    output = SpatialTransformer((5, 5), dtype=policy)(maps, theta)
    half = tf.cast(maps, policy.removeprefix("mixed_"))
    assert output.dtype == half.dtype
    np.testing.assert_array_equal(output, sample_region(half, theta, (5, 5)))


def test_spatial_transformer_is_restored_from_its_config():
    layer = SpatialTransformer((3, 5), name="st")
    again = SpatialTransformer.from_config(layer.get_config())
    assert (again.size, again.name) == ((3, 5), "st")


def test_layer_works_on_symbolic_inputs():
    maps, theta = keras.Input((None, None, 2)), keras.Input((4,))
    assert SpatialTransformer((3, 5))(maps, theta).shape == (None, 3, 5, 2)
