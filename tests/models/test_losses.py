"""Tests the losses against hand-computed values, NumPy, Keras and Addons."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import losses
from tests.support.paths import FILES

GOLDEN = FILES / "addons.npz"
ALL = list(losses.CLASSIFICATION.values())


def matrices(*thetas):
    """The matrices `(1, K, 2, 3)` of one image, from `s_x, s_y, t_x, t_y`."""
    rows = [[[s_x, 0, t_x], [0, s_y, t_y]] for s_x, s_y, t_x, t_y in thetas]
    return np.array([rows], "float32")


def gradient(loss, scores):
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        value = loss(variable)
    return tape.gradient(value, variable).numpy()


def test_euclidean_equals_equations_7_and_8_by_hand():
    # The softmax is (1/4, 1/2, 1/4), the target (1/2, 1/2, 0).
    scores = np.log([[1.0, 2.0, 1.0]]).astype("float32")
    loss = losses.euclidean(np.array([[1, 1, 0]]), scores)
    np.testing.assert_allclose(loss, 1 / 16 + 0 + 1 / 16, rtol=1e-6)


def test_euclidean_averages_over_images_and_sums_over_labels():
    scores = np.zeros((4, 2), "float32")
    labels = np.array([[1, 0], [1, 0], [1, 0], [1, 1]])  # 1/4 + 1/4 three times, 0
    np.testing.assert_allclose(losses.euclidean(labels, scores), 3 / 8, rtol=1e-6)


def test_euclidean_counts_an_image_without_present_label_as_zero():
    scores = np.array([[3.0, -1.0], [0.0, 0.0]], "float32")
    labels = np.array([[0, 0], [1, 0]])
    np.testing.assert_allclose(losses.euclidean(labels, scores), 0.25, rtol=1e-6)


def test_binary_crossentropy_equals_keras(random_scores):
    labels, scores = random_scores
    reference = keras.losses.BinaryCrossentropy(from_logits=True)(labels, scores)
    np.testing.assert_allclose(
        losses.binary_crossentropy(labels, scores), reference, rtol=1e-6
    )


def test_binary_crossentropy_weights_images_equally_not_entries():
    # One known entry costing log 2 in the first image, two costing log 4 in the other.
    scores = np.array([[0.0, 9.0], [-math.log(3), -math.log(3)]], "float32")
    labels = np.array([[1, -1], [1, 1]])
    expected = (math.log(2) + math.log(4)) / 2
    np.testing.assert_allclose(
        losses.binary_crossentropy(labels, scores), expected, rtol=1e-6
    )


def test_asymmetric_equals_its_formula_in_numpy(random_scores):
    labels, scores = random_scores
    p = 1 / (1 + np.exp(-scores.astype("float64")))
    shifted = np.maximum(p - 0.2, 0)
    positive, negative = (1 - p) ** 1.5 * np.log(p), shifted**3 * np.log(1 - shifted)
    expected = -np.where(labels == 1, positive, negative).mean()
    loss = losses.asymmetric(labels, scores, 1.5, 3.0, 0.2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_asymmetric_without_focus_and_clip_is_binary_crossentropy(random_scores):
    labels, scores = random_scores
    np.testing.assert_allclose(
        losses.asymmetric(labels, scores, 0.0, 0.0, 0.0),
        losses.binary_crossentropy(labels, scores),
        rtol=1e-6,
    )


def test_asymmetric_with_equal_gammas_is_the_focal_loss_of_keras(random_scores):
    labels, scores = random_scores
    focal = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
    np.testing.assert_allclose(
        losses.asymmetric(labels, scores, 2.0, 2.0, 0.0),
        focal(labels.astype("float32"), scores),
        rtol=1e-5,
    )


def test_asymmetric_equals_the_focal_loss_of_addons():
    # Addons sums over labels and weights present ones by alpha = 1/4, absent ones by
    # 3/4; marking all others as unknown separates the two.
    with np.load(GOLDEN) as golden:
        labels, p, focal = (
            golden[key] for key in ("metric_labels", "metric_scores", "focal")
        )
    scores = np.log(p) - np.log1p(-p)
    for row, row_scores, expected in zip(labels, scores, focal, strict=True):
        total = 0.0
        for value, alpha in ((1, 0.25), (0, 0.75)):
            only = np.where(row == value, row, -1)[None]
            mean = losses.asymmetric(only, row_scores[None], 2.0, 2.0, 0.0)
            total += alpha * (row == value).sum() * mean
        np.testing.assert_allclose(total, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ALL)
def test_an_unknown_label_changes_neither_loss_nor_gradient(loss):
    scores = np.array([[0.3, -1.0, 0.7, 2.0]], "float32")
    labels = np.array([[1, 0, 1, -1]])
    np.testing.assert_allclose(
        loss(labels, scores), loss(labels[:, :3], scores[:, :3]), rtol=1e-6
    )
    assert gradient(lambda s: loss(labels, s), scores)[0, 3] == 0


@pytest.mark.parametrize("loss", ALL)
def test_an_image_without_known_labels_counts_zero(loss):
    scores = np.array([[0.3, -1.0], [5.0, 2.0]], "float32")
    labels = np.array([[1, 0], [-1, -1]])
    np.testing.assert_allclose(
        2 * loss(labels, scores), loss(labels[:1], scores[:1]), rtol=1e-6
    )


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("size", [0.0, 100.0, 1e4])
def test_gradients_are_finite_for_any_scores(loss, size):
    labels = np.array([[1, 0, -1], [0, 0, 0], [-1, -1, -1], [1, 1, 1]])
    signs = np.array([[1, 1, 1], [-1, 1, 1], [1, 1, -1], [-1, 1, -1]], "float32")
    assert np.isfinite(gradient(lambda s: loss(labels, s), size * signs)).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_asymmetric_gradients_are_finite_for_any_focus(gamma, clip):
    scores = np.linspace(-120, 120, 2401, dtype="float32")[None]
    labels = np.concatenate([np.zeros_like(scores), np.ones_like(scores)])
    slope = gradient(
        lambda s: losses.asymmetric(labels, s, gamma, gamma, clip),
        np.concatenate([scores, scores]),
    )
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("loss", ALL)
def test_a_score_of_nan_makes_the_loss_nan(loss):
    # Training stops on it. A comparison with NaN is false and could hide it.
    assert np.isnan(loss(np.array([[1, 0]]), np.array([[0.0, np.nan]], "float32")))


@pytest.mark.parametrize("loss", ALL)
def test_half_precision_scores_give_a_float32_loss(loss):
    scores = tf.constant([[11.0, -300.0]], tf.float16)
    value = loss(tf.constant([[0, 1]], tf.int8), scores)
    assert value.dtype == tf.float32
    np.testing.assert_allclose(
        value, loss(np.array([[0, 1]]), np.array([[11.0, -300.0]])), rtol=1e-6
    )


@pytest.mark.parametrize("name", list(losses.CLASSIFICATION))
def test_a_step_down_the_gradient_of_the_scores_lowers_the_loss(name):
    loss, labels = losses.CLASSIFICATION[name], np.array([[1, 0, 0], [0, 1, 1]])
    scores = np.zeros((2, 3), "float32")
    lower = scores - 0.5 * gradient(lambda s: loss(labels, s), scores)
    assert loss(labels, lower) < loss(labels, scores)


def test_probabilities_are_softmax_for_euclidean_and_sigmoid_otherwise():
    scores = np.log([[1.0, 3.0]])
    np.testing.assert_allclose(
        losses.probabilities(scores, "euclidean"), [[0.25, 0.75]], rtol=1e-6
    )
    for loss in ("bce", "asl"):
        np.testing.assert_allclose(
            losses.probabilities(scores, loss), [[0.5, 0.75]], rtol=1e-6
        )


def test_four_anchors_come_in_the_order_of_the_paper():
    expected = [[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]]
    np.testing.assert_array_equal(losses.anchors(5), expected)


@pytest.mark.parametrize("regions", [2, 3, 4, 6, 9, 10, 12, 17])
def test_anchors_lie_evenly_on_the_circle(regions):
    x, y = losses.anchors(regions).astype("float64").T
    np.testing.assert_allclose(np.hypot(x, y), math.sqrt(0.5), rtol=1e-6)
    turns = np.diff(np.arctan2(y, x)) % (2 * math.pi)
    np.testing.assert_allclose(turns, 2 * math.pi / (regions - 1), rtol=1e-5)


def test_nine_regions_have_the_diagonal_anchors_and_four_on_the_axes():
    points = losses.anchors(9).astype("float64").round(3)
    found = {tuple(point) for point in points.tolist()}
    diagonal = {(x, y) for x in (0.5, -0.5) for y in (0.5, -0.5)}
    axes = {(0.707, 0), (-0.707, 0), (0, 0.707), (0, -0.707)}
    assert found == diagonal | axes


def test_a_single_region_has_no_anchor_and_no_anchor_constraint():
    assert losses.anchors(1).shape == (0, 2)
    assert losses.anchor_constraint(matrices((1, 1, 0.7, 0.7))) == 0


def test_anchor_constraint_ignores_the_first_region_and_attracts_the_second():
    at_anchors = [(1, 1, x, y) for x, y in losses.anchors(5)]
    assert losses.anchor_constraint(matrices((1, 1, 0.9, 0.1), *at_anchors)) == 0
    # 0.4 right of and 0.2 above (0.5, 0.5): half of 0.16 + 0.04.
    at_anchors[0] = (1, 1, 0.9, 0.3)
    np.testing.assert_allclose(
        losses.anchor_constraint(matrices((1, 1, 0, 0), *at_anchors)), 0.1, rtol=1e-5
    )


def test_anchor_constraint_distinguishes_x_and_y():
    # The anchor of region 3 is x 0.5, y -0.5: swapped it costs 1/2 * (1 + 1).
    right = matrices(*[(1, 1, 0, 0)] * 2, (1, 1, 0.5, -0.5), *[(1, 1, 0, 0)] * 2)
    swapped = matrices(*[(1, 1, 0, 0)] * 2, (1, 1, -0.5, 0.5), *[(1, 1, 0, 0)] * 2)
    difference = losses.anchor_constraint(swapped) - losses.anchor_constraint(right)
    np.testing.assert_allclose(difference, 1.0, rtol=1e-6)


def test_scale_constraint_squares_what_exceeds_alpha_also_when_mirrored():
    # (0.9 - 0.5)^2 + 0 for the first, 0 + (|-0.7| - 0.5)^2 for the second region.
    regions = matrices((0.9, 0.5, 0, 0), (0.1, -0.7, 0, 0))
    np.testing.assert_allclose(losses.scale_constraint(regions), 0.2, rtol=1e-5)
    np.testing.assert_allclose(
        losses.scale_constraint(regions, alpha=0.8), 0.01, rtol=1e-4
    )


def test_positive_constraint_grows_linearly_below_beta():
    # 0.1 - (-0.3) and 0.1 - 0.06 for the first, 0 for the second region.
    regions = matrices((-0.3, 0.06, 0, 0), (0.1, 2.0, 0, 0))
    np.testing.assert_allclose(losses.positive_constraint(regions), 0.44, rtol=1e-5)
    np.testing.assert_allclose(
        losses.positive_constraint(regions, beta=0.2), 0.5 + 0.14 + 0.1, rtol=1e-5
    )


@pytest.mark.parametrize("letters", ["", "A", "S", "P", "AS", "ASP"])
def test_constraints_are_weighted_as_in_equation_13_and_switched_by_letter(letters):
    regions = matrices((1.1, -0.4, 0.3, 0.2), (0.9, 0.05, -0.8, 0.4))
    parts = {
        "S": losses.scale_constraint(regions),
        "A": 0.01 * losses.anchor_constraint(regions),
        "P": 0.1 * losses.positive_constraint(regions),
    }
    assert all(part > 0 for part in parts.values())
    np.testing.assert_allclose(
        losses.localization(regions, constraints=letters),
        sum(parts[letter] for letter in letters),
        rtol=1e-6,
    )


def test_localization_applies_its_arguments():
    regions = matrices((1.1, -0.4, 0.3, 0.2), (0.9, 0.05, -0.8, 0.4))
    expected = (
        losses.scale_constraint(regions, 0.2)
        + 3 * losses.anchor_constraint(regions)
        + 5 * losses.positive_constraint(regions, 0.4)
    )
    np.testing.assert_allclose(
        losses.localization(regions, 3, 5, 0.2, 0.4), expected, rtol=1e-6
    )


def test_constraints_sum_over_regions_and_average_over_images():
    regions = matrices((0.9, 0.05, -0.3, 0.2), (0.8, -0.3, 0.1, 0.9))
    once = losses.localization(regions)
    np.testing.assert_allclose(
        losses.localization(np.repeat(regions, 3, 0)), once, rtol=1e-6
    )
    for constraint in (losses.scale_constraint, losses.positive_constraint):
        each = [constraint(regions[:, k : k + 1]) for k in range(2)]
        np.testing.assert_allclose(constraint(regions), sum(each), rtol=1e-6)


def test_localization_has_gradients_only_where_a_constraint_acts():
    regions = matrices((0.9, -0.2, 0.9, 0.9), (0.3, 0.3, 0.5, 0.0))
    slope = gradient(losses.localization, regions)[0]
    # s_x is too large, s_y negative; the first region's centre is unconstrained.
    assert slope[0, 0, 0] > 0 > slope[0, 1, 1]
    assert not slope[0, :, 2].any()
    # The second has a valid size and is only drawn down to y = 0.5.
    assert slope[1, 1, 2] < 0
    assert np.count_nonzero(slope[1]) == 1


@pytest.mark.parametrize("name", list(losses.CLASSIFICATION))
def test_losses_compile_with_xla_for_an_unknown_batch_size(name):
    # Traced once for any batch size, then compiled for each one.
    @tf.function(
        jit_compile=True,
        input_signature=[
            tf.TensorSpec([None, 3], tf.int32),
            tf.TensorSpec([None, 3], tf.float32),
            tf.TensorSpec([None, 2, 2, 3], tf.float32),
        ],
    )
    def total(labels, scores, regions):
        loss = losses.CLASSIFICATION[name](labels, scores)
        return loss + losses.localization(regions)

    regions = matrices((0.9, 0.05, -0.3, 0.2), (0.8, -0.3, 0.1, 0.9))
    for batch in (1, 2):
        labels = np.array([[1, 0, -1], [0, 1, 1]], "int32")[:batch]
        scores = np.array([[0.5, 1, 2], [-1, 1, 0]], "float32")[:batch]
        eager = losses.CLASSIFICATION[name](labels, scores)
        eager += losses.localization(regions)
        compiled = total(labels, scores, np.repeat(regions, batch, 0))
        np.testing.assert_allclose(compiled, eager, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.probabilities([[0.0]], "mse"), "Received: loss='mse'"),
        (lambda: losses.anchors(0), "Received: regions=0"),
        (lambda: losses.asymmetric([[1]], [[0.0]], clip=1.0), "clip=1.0"),
        (lambda: losses.asymmetric([[1]], [[0.0]], -1.0), "gamma_positive=-1.0"),
        (
            lambda: losses.localization(matrices((1, 1, 0, 0)), constraints="AX"),
            "Received: constraints='AX'",
        ),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_anchors_need_a_known_number_of_regions():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 2, 3])])
    def constraint(regions):
        return losses.anchor_constraint(regions)

    with pytest.raises(ValueError, match="with a known K"):
        constraint(matrices((1, 1, 0, 0)))


@pytest.fixture
def random_scores():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, (6, 4))
    return labels, generator.normal(size=(6, 4), scale=2).astype("float32")
