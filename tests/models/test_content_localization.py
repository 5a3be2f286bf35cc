"""Tests localisation by content on toy maps and against NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models.attention.content_localization import (
    REACH,
    REMAINING,
    ContentLocalization,
)
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.region_lstm import code_width, factored
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention

EDGE, CHANNELS, SCALE = 10, 4, 0.3
BLOB = np.outer([0.7, 1.0, 0.7], [0.7, 1.0, 0.7])


def map_of(*objects):
    """Makes a map `(1, 10, 10, 4)` of objects `(row, column, channel, strength)`."""
    maps = np.zeros((1, EDGE, EDGE, CHANNELS), "float32")
    for row, column, channel, strength in objects:
        place = slice(row - 1, row + 2), slice(column - 1, column + 2), channel
        maps[0][place] += strength * BLOB
    return maps


def started(labels=2, regions=3, kind=RecurrentMemorizedAttention, **arguments):
    """Makes an untrained layer in which channel l is the evidence for label l."""
    layer = kind(
        labels,
        regions,
        64,
        (EDGE, EDGE),
        "average",
        localization="content",
        start_scale=SCALE,
        **arguments,
    )
    layer.build((None, None, None, CHANNELS))
    kernel = 4 * np.eye(CHANNELS, labels, dtype="float32")
    bias = np.full(labels, -1.0, "float32")
    factors, readout = layer.region_lstm.start_as((kernel, bias), None, 0.7)
    layer.content.start_as(factors, bias, readout)
    return layer


def cells_of(regions):
    """Returns the centres `(K, 2)` row, column of one image's regions, in cells."""
    return (np.array(regions)[0, :, ::-1, 2] * EDGE + EDGE - 1) / 2


def distance(a, b):
    return np.abs(np.subtract(a, b)).max()


def test_two_regions_lie_on_two_objects_before_any_training():
    found = cells_of(started()(map_of((2, 2, 0, 1.0), (6, 7, 1, 1.0)))["regions"])
    near = [[distance(cell, peak) <= 1 for peak in ((2, 2), (6, 7))] for cell in found]
    assert sorted(near[:2]) == [[False, True], [True, False]]


def test_the_first_region_is_that_of_the_most_probable_label():
    maps = map_of((2, 2, 0, 1.0), (6, 7, 1, 2.0))
    assert distance(cells_of(started()(maps)["regions"])[0], (6, 7)) <= 1


@pytest.mark.parametrize("labels", [1, 2])
def test_no_region_returns_to_an_object_of_an_earlier_region(labels):
    found = cells_of(started(labels, 4)(map_of((4, 4, 0, 1.0)))["regions"])
    assert distance(found[0], (4, 4)) <= 0.1
    # A region reaches 1.5 cells to each side.
    for cell in found[1:]:
        assert distance(cell, found[0]) > 1.5


def test_two_labels_in_one_place_share_a_region():
    maps = map_of((2, 2, 0, 1.0), (2, 2, 1, 1.0), (7, 7, 2, 0.5))
    found = cells_of(started(3)(maps)["regions"])
    assert distance(found[0], (2, 2)) <= 0.1
    assert distance(found[1], (7, 7)) <= 1


def test_two_equal_peaks_are_not_averaged():
    found = cells_of(started(1)(map_of((4, 2, 0, 1.0), (4, 7, 0, 1.0)))["regions"])
    assert distance(found[0], (4, 2)) <= 1
    assert distance(found[1], (4, 7)) <= 1


def test_regions_on_an_empty_map_are_apart_from_one_another():
    found = cells_of(started(1)(map_of())["regions"])
    assert all(distance(a, b) > 1.5 for a, b in itertools.pairwise(found))


def search_by_numpy(scores, explained, covers, probabilities, scale, move):
    """Finds the next region as `ContentLocalization` describes, cell by cell.

    Args:
        scores: `(H, W, L)` evidence.
        explained: `(L,)` the largest evidence in earlier regions.
        covers: `(H, W)` the number of these regions that each cell lies in.
        probabilities: `(L,)`.
        scale: `s_x, s_y`.
        move: Shift `t_x, t_y` of the centre.

    Returns:
        Row and column of the next region, and the new explained and covers.
    """
    edges = np.array(covers.shape)
    cells = list(np.ndindex(*covers.shape))
    rest = scores @ probabilities
    rest -= rest.min()
    worth = {
        cell: probabilities @ np.maximum(scores[cell] - explained, 0)
        + REMAINING * (rest[cell] - 2 * (rest.max() + 1) * covers[cell])
        for cell in cells
    }
    best = max(cells, key=worth.get)  # the first of equal ones
    gained = scores[best] > explained
    match = scores @ (probabilities * (gained if gained.any() else 1))
    near = [cell for cell in cells if np.abs(np.subtract(cell, best)).max() <= 1]
    drawn = np.exp([match[cell] for cell in near])
    centre = best + REACH * ((drawn / drawn.sum()) @ np.array(near, float) - best)
    centre += edges * move[::-1] / 2
    covers = covers.copy()
    for cell in cells:
        apart = np.abs(cell - centre)
        covers[cell] += (apart <= edges * scale[::-1] / 2).all()
        if (apart <= REACH + 1e-3).all():
            explained = np.maximum(explained, scores[cell])
    return centre, explained, covers


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rank", [3, 2], ids=["exact", "factored"])
def test_regions_equal_a_search_cell_by_cell(seed, rank):
    rng = np.random.default_rng(seed)
    layer = ContentLocalization(3, 6, rank, SCALE)
    layer.build((None, None, None, CHANNELS))
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])
    maps = rng.normal(size=(1, 5, 7, CHANNELS)).astype("float32")
    z = rng.uniform(size=(5, 1, 6)).astype("float32")  # a different one for each region
    by_name = {weight.name: weight.numpy() for weight in layer.weights}
    labels = by_name.get("W_label", np.eye(3))
    of_cells = maps[0] @ by_name["W_cell"] @ labels
    padded = np.pad(of_cells, [(1, 1), (1, 1), (0, 0)], constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    scores, whole = np.nanmean(windows, (-2, -1)), of_cells.mean((0, 1))

    evidence = layer.read(tf.constant(maps))
    explained = layer.begin(evidence)
    np.testing.assert_allclose(explained.scores[0], whole, atol=1e-5)
    covers = np.zeros((5, 7))
    for state in z:
        logits = state[0] @ by_name["W_query"] @ labels + by_name["b_query"]
        change = np.tanh(state[0] @ by_name["W_zm"] / np.sqrt(6) + by_name["b_m"])
        scale, move = SCALE * 3 ** change[:2], SCALE * change[2:]
        centre, whole, covers = search_by_numpy(
            scores, whole, covers, 1 / (1 + np.exp(-logits)), scale, move
        )
        theta = layer.locate(state, evidence, explained)
        explained = layer.explain(theta, evidence, explained)
        found = (theta[0, :1:-1] * [5, 7] + [4, 6]) / 2
        np.testing.assert_allclose(found, centre, atol=1e-4)
        np.testing.assert_allclose(theta[0, :2], scale, rtol=1e-5)
        np.testing.assert_allclose(explained.scores[0], whole, atol=1e-5)
        np.testing.assert_array_equal(explained.covers[0], covers.ravel())


def test_initial_probabilities_are_those_of_step_1_for_the_whole_map():
    layer = started(3)
    maps = map_of((2, 2, 0, 2.0), (6, 7, 1, 1.0))
    whole = maps.mean((1, 2))
    states = [np.zeros((1, 64), "float32")] * 2
    for _ in range(3):  # They do not depend on the regions.
        _, states, vectors = layer.region_lstm(maps, states)
        maps = map_of((5, 5, 2, 9.0))
    content = layer.content
    scores = vectors["z"] @ content.query_kernel + content.query_bias
    np.testing.assert_allclose(scores, 4 * whole[:, :3] - 1, atol=0.01)


def test_the_gradient_of_a_regions_centre_equals_finite_differences():
    layer = started(2, 1)
    maps = map_of((2, 2, 0, 1.0), (2, 3, 1, 0.5), (6, 7, 1, 0.4))
    rng = np.random.default_rng(0)
    maps += rng.uniform(0, 0.1, maps.shape).astype("float32")

    def place(maps):
        return tf.reduce_sum(layer(maps)["regions"][:, 0, :, 2] * [1.0, 2.0])

    with tf.GradientTape() as tape:
        tape.watch(maps := tf.constant(maps))
        value = place(maps)
    gradient = tape.gradient(value, maps).numpy()
    step = rng.normal(size=maps.shape).astype("float32")
    by_difference = (place(maps + 1e-2 * step) - place(maps - 1e-2 * step)) / 2e-2
    np.testing.assert_allclose((gradient * step).sum(), by_difference, rtol=2e-2)


@pytest.mark.parametrize("labels", [1, 2], ids=["one label", "two apart"])
def test_training_can_move_and_resize_regions(labels):
    layer = started(labels, 2)
    maps = map_of((2, 2, 0, 1.0), (6, 7, 1, 0.9))
    maps += np.random.default_rng(0).uniform(0, 0.1, maps.shape).astype("float32")
    with tf.GradientTape() as tape:
        regions = layer(maps)["regions"]
        loss = tf.reduce_sum(regions * np.random.default_rng(1).normal(size=(2, 2, 3)))
    gradients = tape.gradient(loss, layer.theta_variables)
    for variable, gradient in zip(layer.theta_variables, gradients, strict=True):
        assert np.abs(gradient).max() > 1e-4, variable.path


def test_training_resizes_regions_by_three_and_moves_them_by_one_region_at_most():
    layer, maps = started(), map_of((2, 2, 0, 1.0))
    before = layer(maps)["regions"][0, 0]
    layer.content.move_bias.assign([-99.0, 99.0, -99.0, 99.0])
    after = layer(maps)["regions"][0, 0]
    np.testing.assert_allclose(after[0, 0], SCALE / 3, rtol=1e-5)
    np.testing.assert_allclose(after[1, 1], SCALE * 3, rtol=1e-5)
    np.testing.assert_allclose((after - before)[:, 2], [-SCALE, SCALE], rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_sizes_unknown_to_the_graph_change_nothing(compiled):
    layer = started(2, 1 + 2 * compiled)
    rng = np.random.default_rng(0)
    maps = rng.uniform(size=(2, EDGE, EDGE, CHANNELS)).astype("float32")
    graph = tf.function(
        layer,
        [tf.TensorSpec([None, None, None, CHANNELS])],
        autograph=False,
        jit_compile=compiled,
    )
    expected = layer(maps)
    for name, value in graph(maps).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5)


def test_regions_in_half_precision_equal_those_in_float32():
    maps = map_of((2, 2, 0, 1.0), (6, 7, 1, 1.0))
    layer = started(2, 1, dtype="mixed_bfloat16")
    regions = layer(maps)["regions"]
    assert regions.dtype == tf.float32
    # Neither 0.3 nor the centre is a bfloat16.
    np.testing.assert_allclose(regions, started(2, 1)(maps)["regions"], atol=2e-3)
    np.testing.assert_allclose(regions[..., 0, 0], 0.3, rtol=1e-6)


def test_a_state_or_a_map_of_nan_gives_nan_regions():
    content = started().content
    maps, z = map_of((2, 2, 0, 1.0)), np.ones((1, 64), "float32")
    evidence = content.read(maps)
    explained = content.begin(evidence)
    assert np.isfinite(content.locate(z, evidence, explained)).all()
    assert np.isnan(content.locate(z * np.nan, evidence, explained)).any()
    evidence = content.read(maps * np.nan)
    assert np.isnan(content.locate(z, evidence, content.begin(evidence))).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1)])
def test_maps_of_one_line_or_one_cell_have_finite_regions(shape):
    maps = np.random.default_rng(0).uniform(size=(1, *shape, CHANNELS))
    regions = started()(maps.astype("float32"))["regions"]
    assert np.isfinite(regions).all()
    assert np.abs(regions[..., 2]).max() < 1


def test_the_initial_means_of_the_policy_are_the_regions_of_rdar():
    maps = map_of((2, 2, 0, 1.0), (6, 7, 1, 1.5))
    found = started(2, 2)(maps)["regions"]
    agent = started(2, 2, ReinforcedAttention, sides=(SCALE,), ratios=(1.0,))
    np.testing.assert_allclose(agent(maps)["regions"], found, atol=1e-5)


def test_an_agent_in_training_samples_around_the_regions_found_by_content():
    maps = map_of((2, 2, 0, 1.0), (6, 7, 1, 1.5))
    kind = {"kind": ReinforcedAttention, "sides": (SCALE,), "ratios": (1.0,)}
    agent = started(2, 1, episodes=300, sigma=0.05, **kind)
    mean = agent(maps)["regions"][0, 0, :, 2]
    drawn = agent(maps, training=True)["locations"].numpy()[:, 0]
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(drawn.std(0), 0.05, atol=0.01)


@pytest.mark.parametrize("labels", [1, 2, 130, 1000, 5000])
@pytest.mark.parametrize("channels", [30, 300])
def test_any_number_of_labels_starts_from_step_1_with_512_units(labels, channels):
    rng = np.random.default_rng(0)
    layer = RecurrentMemorizedAttention(
        labels, 1, 512, (4, 4), "average", localization="content", start_scale=SCALE
    )
    layer.build((None, None, None, channels))
    kernel = rng.normal(0, 0.1, (channels, labels)).astype("float32")
    bias = rng.normal(size=labels).astype("float32")
    factors, readout = layer.region_lstm.start_as((kernel, bias), None, 0.7)
    layer.content.start_as(factors, bias, readout)
    maps = rng.uniform(size=(1, 1, 1, channels)).astype("float32")
    maps = np.tile(maps, (1, 4, 4, 1))
    scores = layer(maps)["region_scores"][:, 0]
    # 127 numbers hold a kernel of fewer labels or channels, else its best
    # approximation of that rank.
    left, values, right = np.linalg.svd(kernel, full_matrices=False)
    approximated = (left[:, :127] * values[:127]) @ right[:127]
    expected = maps[:, 0, 0] @ approximated + bias
    np.testing.assert_allclose(scores, expected, atol=0.05)


def test_code_width_is_the_number_of_labels_up_to_a_quarter_of_the_units():
    widths = [code_width(512, labels) for labels in (1, 127, 128, 5000)]
    assert widths == [1, 127, 127, 127]


def test_a_kernel_of_few_labels_is_not_factored():
    kernel = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    codes, labels = factored(kernel, 3)
    np.testing.assert_array_equal(codes @ labels, kernel)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (3, 9)])
def test_the_error_of_a_factored_kernel_is_its_smallest_singular_values(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype("float32")
    codes, labels = factored(kernel, 4)
    assert (codes.shape, labels.shape) == ((shape[0], 4), (4, shape[1]))
    missed = np.linalg.svd(kernel, compute_uv=False)[4:]
    error = np.linalg.norm(kernel - codes @ labels)
    np.testing.assert_allclose(error, np.linalg.norm(missed), atol=1e-5)


def test_starts_together_with_content_are_refused():
    with pytest.raises(ValueError, match="content does not use starts"):
        RecurrentMemorizedAttention(
            2, 1, localization="content", starts=[[1.0, 1.0, 0.0, 0.0]]
        )


def test_an_unknown_localization_is_refused():
    with pytest.raises(ValueError, match=r"Unknown localisation.*'elsewhere'"):
        RecurrentMemorizedAttention(2, 1, localization="elsewhere")


def test_a_layer_is_restored_from_its_configuration():
    layer = started()
    again = RecurrentMemorizedAttention.from_config(layer.get_config())
    again.build((None, None, None, CHANNELS))
    again.set_weights(layer.get_weights())
    maps = map_of((2, 2, 0, 1.0), (6, 7, 1, 1.0))
    for name, value in again(maps).items():
        np.testing.assert_array_equal(value, layer(maps)[name])
