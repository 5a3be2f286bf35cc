"""The sampler against PyTorch, TensorFlow Addons, resizing, and numbers by hand."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.spatial_transformer import (
    SpatialTransformer,
    box_to_theta,
    matrix_to_box,
    sample_region,
    theta_to_matrix,
)

DATA = pathlib.Path(__file__).parent / "data"
WHOLE = [1.0, 1.0, 0.0, 0.0]


def load(name):
    with np.load(DATA / name) as arrays:
        return dict(arrays)


def matrix_to_theta(matrices):
    """The four free entries of `(B, 2, 3)`, as `sample_region` takes them."""
    cells = [(0, 0), (1, 1), (0, 2), (1, 2)]
    return np.stack([matrices[:, i, j] for i, j in cells], -1)


def random_maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gradients_of_squares(maps, theta, size):
    maps, theta = tf.constant(maps), tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch([maps, theta])
        loss = tf.reduce_sum(sample_region(maps, theta, size) ** 2)
    return tape.gradient(loss, [maps, theta])


def assert_relatively_close(actual, expected, tolerance=1e-5):
    """Relative to the largest entry: small ones are differences of large ones."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


# The regions of both golden files include mirrored ones (negative scales) and ones that
# overhang the map.


def test_several_regions_of_a_map_are_those_of_each_by_itself():
    maps = random_maps(2, 5, 6, 3)
    theta = np.random.default_rng(1).normal(size=(2, 4, 4)).astype("float32")
    output = sample_region(maps, theta, (3, 2))
    alone = [sample_region(maps, theta[:, r], (3, 2)) for r in range(4)]
    np.testing.assert_allclose(output, np.stack(alone, 1), rtol=1e-5, atol=1e-6)


def test_regions_equal_grid_sample_of_pytorch():
    golden = load("grid_sample.npz")
    theta = matrix_to_theta(golden["theta"])
    output = sample_region(golden["maps"], theta, golden["output"].shape[1:3])
    np.testing.assert_allclose(output, golden["output"], atol=1e-5)


def test_gradients_equal_grid_sample_of_pytorch():
    # Many of its points lie on cells, where the hat has a kink.
    golden = load("grid_sample.npz")
    theta = matrix_to_theta(golden["theta"])
    by_maps, by_theta = gradients_of_squares(
        golden["maps"], theta, golden["output"].shape[1:3]
    )
    assert_relatively_close(by_maps, golden["grad_maps"])
    assert_relatively_close(by_theta, matrix_to_theta(golden["grad_theta"]))


def test_regions_equal_crops_of_tensorflow_addons():
    golden = load("addons.npz")
    output = sample_region(golden["crop_maps"], golden["crop_theta"], (6, 6))
    np.testing.assert_allclose(output, golden["crop_output"], atol=1e-5)


@pytest.fixture
def resampler():
    """The resampler's points one by one: regions of a single sample."""
    golden = load("addons.npz")
    batch, height, width, channels = golden["resampler_images"].shape
    x, y = golden["resampler_warp"].reshape(-1, 2).T
    points = np.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
    theta = np.concatenate([np.ones_like(points), points], -1).astype("float32")
    each = len(theta) // batch
    return golden, np.repeat(golden["resampler_images"], each, 0), theta, channels


def test_single_points_equal_the_resampler_of_tensorflow_addons(resampler):
    golden, maps, theta, channels = resampler
    output = sample_region(maps, theta, (1, 1))
    expected = golden["resampler_output"].reshape(-1, 1, 1, channels)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_gradients_of_points_equal_the_resampler_of_tensorflow_addons(resampler):
    golden, maps, theta, _ = resampler
    by_maps, by_theta = gradients_of_squares(maps, theta, (1, 1))
    batch, height, width, _ = golden["resampler_images"].shape
    by_images = by_maps.numpy().reshape(batch, -1, *maps.shape[1:]).sum(1)
    assert_relatively_close(by_images, golden["resampler_grad_images"])
    pixels = by_theta.numpy()[:, 2:] * 2 / np.array([width - 1, height - 1])
    assert_relatively_close(pixels, golden["resampler_grad_warp"].reshape(-1, 2))


def test_the_whole_map_at_its_own_size_is_the_map():
    maps = random_maps(2, 5, 7, 3)
    output = sample_region(maps, [WHOLE] * 2, (5, 7))
    np.testing.assert_allclose(output, maps, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 4), (11, 6), (9, 15)])
def test_the_whole_map_at_another_size_is_a_resize_with_aligned_corners(size):
    maps = random_maps(2, 5, 8, 3)
    expected = tf.compat.v1.image.resize(maps, size, align_corners=True)
    output = sample_region(maps, [WHOLE] * 2, size)
    np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_negative_scale_mirrors_its_axis(axis):
    maps, theta = random_maps(1, 4, 6, 2), np.array([WHOLE], "float32")
    theta[0, axis] = -1
    output = sample_region(maps, theta, (4, 6))
    np.testing.assert_allclose(output, np.flip(maps, 2 - axis), atol=1e-6)


def test_x_is_first_and_runs_right_and_y_runs_down():
    maps = np.zeros((1, 3, 5, 1), "float32")
    maps[0, 2, 3] = 1  # y = 1, x = 0.5
    point = [0.0, 0.0, 0.5, 1.0]
    np.testing.assert_allclose(sample_region(maps, [point], (1, 1)), [[[[1]]]])


def test_outside_fades_to_zero_within_one_cell():
    maps = np.ones((1, 5, 5, 1), "float32")  # cells half a unit apart
    beyond = [0.0, 0.25, 0.5, 1.0]  # of that unit, beyond the last cell
    theta = [[0.0, 0.0, 1 + distance, 0.0] for distance in beyond]
    output = sample_region(np.repeat(maps, 4, 0), theta, (1, 1))
    np.testing.assert_allclose(output[:, 0, 0, 0], [1.0, 0.5, 0.0, 0.0], atol=1e-6)


def test_a_map_of_one_cell_can_be_sampled():
    output = sample_region(np.full((1, 1, 1, 2), 3.0, "float32"), [WHOLE], (2, 2))
    np.testing.assert_allclose(output, np.full((1, 2, 2, 2), 3.0))


def test_a_region_that_is_not_a_number_stays_visible():
    output = sample_region(random_maps(1, 3, 3, 1), [[np.nan, 1.0, 0.0, 0.0]], (2, 2))
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
    # So near the last cell that half precision could not tell where: it would be wrong
    # by a tenth of a cell.
    theta = np.array([[0.013, 0.017, 0.9813, 0.9767]] * 2, "float32")
    output = sample_region(tf.cast(maps, dtype), theta, (5, 5))
    assert output.dtype == dtype
    expected = sample_region(maps, theta, (5, 5))
    # Map, weights and the two sums each round once.
    tolerance = 4 * 2.0**-digits * np.abs(maps).max()
    np.testing.assert_allclose(
        tf.cast(output, "float32"), expected, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_leaves_coordinates_alone(policy):
    maps = random_maps(1, 20, 20, 3)
    theta = tf.constant([[0.013, 0.017, 0.9813, 0.9767]])
    output = SpatialTransformer((5, 5), dtype=policy)(maps, theta)
    half = tf.cast(maps, policy.removeprefix("mixed_"))
    assert output.dtype == half.dtype
    np.testing.assert_array_equal(output, sample_region(half, theta, (5, 5)))


def test_layer_is_made_again_from_its_config():
    layer = SpatialTransformer((3, 5), name="look")
    again = SpatialTransformer.from_config(layer.get_config())
    assert (again.size, again.name) == ((3, 5), "look")


def test_layer_works_on_symbolic_inputs():
    maps, theta = keras.Input((None, None, 2)), keras.Input((4,))
    assert SpatialTransformer((3, 5))(maps, theta).shape == (None, 3, 5, 2)


def test_theta_to_matrix_writes_equation_1():
    matrix = theta_to_matrix(tf.constant([[0.1, 0.2, 0.3, 0.4]]))
    expected = np.array([[[0.1, 0, 0.3], [0, 0.2, 0.4]]], "float32")
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("theta", "unclipped", "clipped"),
    [
        pytest.param(WHOLE, [0, 0, 1, 1], [0, 0, 1, 1], id="whole map"),
        pytest.param(
            # x from 0.25 to 0.75 of [-1, 1], y from -1 to 0.
            [0.25, 0.5, 0.5, -0.5],
            [0, 0.625, 0.5, 0.875],
            [0, 0.625, 0.5, 0.875],
            id="inside",
        ),
        pytest.param(
            [-0.25, -0.5, 0.5, -0.5],
            [0, 0.625, 0.5, 0.875],
            [0, 0.625, 0.5, 0.875],
            id="mirrored",
        ),
        pytest.param(
            [0.5, 1.5, 1.0, 0.0],
            [-0.25, 0.75, 1.25, 1.25],
            [0, 0.75, 1, 1],
            id="overhanging",
        ),
    ],
)
def test_matrix_to_box_by_hand(theta, unclipped, clipped):
    matrix = theta_to_matrix(tf.constant([theta]))
    np.testing.assert_allclose(matrix_to_box(matrix, clip=False), [unclipped])
    np.testing.assert_allclose(matrix_to_box(matrix), [clipped])


@pytest.mark.parametrize(
    ("box", "theta"),
    [
        pytest.param([0, 0, 1, 1], WHOLE, id="whole map"),
        pytest.param([0, 0.625, 0.5, 0.875], [0.25, 0.5, 0.5, -0.5], id="inside"),
        pytest.param([-0.25, 0.75, 1.25, 1.25], [0.5, 1.5, 1, 0], id="overhanging"),
    ],
)
def test_box_to_theta_by_hand_and_back(box, theta):
    found = box_to_theta(tf.constant([box], tf.float32))
    np.testing.assert_allclose(found, [theta])
    back = matrix_to_box(theta_to_matrix(found), clip=False)
    np.testing.assert_allclose(back, [box])
