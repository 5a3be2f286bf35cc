"""Tests calibration against values by hand, scikit-learn, SciPy and plain loops."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from ram_tf.metrics import calibration, multi_label, reliability
from ram_tf.metrics.calibration import Calibration

CALIBRATION = Calibration(1.7, (0.25, 0.5, 1.0))


def column(*values):
    return np.array(values)[:, None]


@pytest.fixture
def table():
    """Overconfident scores, some of them equal, and labels, some of them unknown."""
    generator = np.random.default_rng(3)
    truth = generator.normal(size=(300, 4))
    labels = (generator.random((300, 4)) < expit(truth)).astype("int8")
    labels[generator.random((300, 4)) < 0.2] = -1
    return labels, (3 * truth).round(1)


@pytest.mark.parametrize("score", [4.0, 100.0])
def test_temperature_makes_a_sigmoid_the_share_of_positives(score):
    # Three of four are positive: sigmoid(score / T) = 3/4.
    labels, scores = column(1, 1, 1, 0), column(score, score, score, score)
    result = calibration.fit_temperature(labels, scores, "bce")
    assert result == pytest.approx(score / math.log(3), rel=1e-4)


def test_temperature_makes_a_softmax_the_share_of_the_labels():
    # The first label has 1 + 1/2 of two images: softmax(2 / T, 0) = (3/4, 1/4).
    labels = np.array([[1, 0], [1, 1]])
    scores = np.array([[2.0, 0.0], [5.0, 3.0]])
    result = calibration.fit_temperature(labels, scores, "euclidean")
    assert result == pytest.approx(2 / math.log(3), rel=1e-4)


def test_sigmoid_temperature_is_the_slope_of_a_logistic_regression(table):
    labels, scores = table
    known = labels >= 0
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    regression.fit(scores[known][:, None], labels[known])
    result = calibration.fit_temperature(labels, scores, "bce")
    assert result == pytest.approx(1 / regression.coef_.item(), rel=1e-4)


def test_softmax_temperature_is_the_best_of_a_grid(table):
    labels, scores = (part[:60] for part in table)

    def cost(temperature):
        total = 0
        for truth, row in zip(labels, scores, strict=True):
            known = truth >= 0
            if (truth > 0).any():
                target = (truth[known] > 0) / (truth > 0).sum()
                total -= target @ log_softmax(row[known] / temperature)
        return total

    grid = np.geomspace(0.5, 50, 200)
    best = grid[np.argmin([cost(temperature) for temperature in grid])]
    result = calibration.fit_temperature(labels, scores, "euclidean")
    assert result == pytest.approx(best, rel=0.02)
    assert cost(result) <= cost(best)


@pytest.mark.parametrize("loss", ["bce", "asl", "euclidean"])
def test_temperature_grows_with_the_scores(table, loss):
    labels, scores = table
    once = calibration.fit_temperature(labels, scores, loss)
    thrice = calibration.fit_temperature(labels, 3 * scores, loss)
    assert thrice == pytest.approx(3 * once, rel=1e-4)
    assert once != 1


@pytest.mark.parametrize("loss", ["bce", "euclidean"])
def test_scores_of_unknown_labels_do_not_matter(table, loss):
    labels, scores = table
    other = np.where(labels < 0, 50.0, scores)
    expected = calibration.fit(labels, scores, loss).temperature
    result = calibration.fit(labels, other, loss).temperature
    assert result == pytest.approx(expected, rel=1e-6)


def test_images_without_present_labels_do_not_matter_to_a_softmax(table):
    labels, scores = table
    kept = (labels > 0).any(1)
    expected = calibration.fit_temperature(labels[kept], scores[kept], "euclidean")
    result = calibration.fit_temperature(labels, scores, "euclidean")
    assert not kept.all()
    assert result == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["bce", "euclidean"])
@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([[-1, -1]], [[1.0, 2.0]]),
        ([[0, 0], [0, -1]], [[1.0, -3.0], [-2.0, 0.0]]),
        ([[1, 1], [1, -1]], [[3.0, -1.0], [2.0, 0.0]]),
        ([[1, 0], [0, 1]], [[1.0, -1.0], [-1.0, 1.0]]),  # no mistakes
        (
            [[1, 0], [0, 1]],
            [[900.0, -900.0], [-900.0, 900.0]],
        ),  # no mistakes, and a cost of 0
        ([[1, 0], [0, 1]], [[0.0, 0.0], [0.0, 0.0]]),
        ([[1, 0], [0, 1]], [[-1.0, 1.0], [1.0, -1.0]]),  # only mistakes
    ],
)
def test_temperature_is_one_without_a_minimum(labels, scores, loss):
    result = calibration.fit_temperature(np.array(labels), np.array(scores), loss)
    assert result == 1


def test_probabilities_are_those_of_scores_over_temperature(table):
    _, scores = table
    for loss, reference in (("bce", expit), ("asl", expit), ("euclidean", _softmax)):
        result = Calibration(2.5, (0.5,) * 4).probabilities(scores, loss)
        np.testing.assert_allclose(result, reference(scores / 2.5), rtol=1e-5)


def _softmax(scores):
    return softmax(scores, -1)


def test_probabilities_in_a_graph_equal_those_of_arrays(table):
    scores = table[1].astype("float32")
    for loss in ("bce", "euclidean"):
        graph = tf.function(
            lambda given, loss=loss: CALIBRATION.probabilities(given, loss),
            [tf.TensorSpec([None, None])],
        )
        np.testing.assert_allclose(
            graph(scores), CALIBRATION.probabilities(scores, loss), rtol=1e-5
        )


@pytest.mark.parametrize("temperature", [0.7, 5.0])
def test_temperature_does_not_change_the_rankings_of_sigmoids(table, temperature):
    labels, scores = table
    calibrated = Calibration(temperature, (0.5,) * 4).probabilities(scores, "bce")
    np.testing.assert_array_equal(
        multi_label.average_precision(labels, calibrated),
        multi_label.average_precision(labels, scores),
    )


def test_temperature_may_change_the_ranking_of_softmaxes():
    labels = np.array([[1, 0, 0], [0, 1, 0]])
    scores = np.array([[1.0, 0.0, 0.0], [3.0, 2.9, -9.0]])
    first = [
        multi_label.average_precision(
            labels, Calibration(t, (0.5,) * 3).probabilities(scores, "euclidean")
        )[0]
        for t in (1.0, 4.0)
    ]
    assert first == [1, 1 / 2]


def test_threshold_of_highest_f1_by_hand():
    # F1 of one to four predictions: 2/3, 2/4, 4/5, 4/6.
    labels, probabilities = column(1, 0, 1, 0), column(0.9, 0.8, 0.6, 0.3)
    thresholds, unfitted = calibration.fit_thresholds(labels, probabilities)
    assert thresholds == pytest.approx([(0.6 + 0.3) / 2])
    assert unfitted == []


def test_a_threshold_below_all_probabilities_is_midway_to_zero():
    labels, probabilities = column(0, 1), column(0.9, 0.4)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities)
    assert thresholds == pytest.approx([0.2])


def test_no_threshold_has_a_higher_f1_than_the_fitted_one(table):
    labels, scores = table
    probabilities = expit(scores)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities)
    for index, threshold in enumerate(thresholds):
        known = labels[:, index] >= 0
        truth, ranked = labels[known, index], probabilities[known, index]
        precision, recall, _ = precision_recall_curve(truth, ranked)
        highest = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
        pair = truth[:, None], ranked[:, None]
        result = multi_label.precision_recall_f1(*pair, threshold)["OF1"]
        assert result == pytest.approx(highest)


@pytest.mark.parametrize("floor", [0.0, 0.5, 0.7, 0.9])
def test_a_threshold_above_a_floor_has_the_best_recall_then_the_best_precision(
    table, floor
):
    labels, scores = table
    probabilities = expit(scores)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities, floor)

    def recall_and_precision(index, threshold):
        pair = labels[:, [index]], probabilities[:, [index]]
        result = multi_label.precision_recall_f1(*pair, threshold)
        return result["OR"], result["OP"]

    for index, threshold in enumerate(thresholds):
        every = [
            recall_and_precision(index, p) for p in np.unique(probabilities[:, index])
        ]
        best = max(pair for pair in every if pair[1] >= floor)
        assert recall_and_precision(index, threshold) == best


def test_the_highest_of_equally_good_thresholds_is_taken():
    # F1 is 2/3 with one prediction and with four.
    labels, probabilities = column(1, 0, 0, 1), column(0.9, 0.5, 0.4, 0.3)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities)
    assert thresholds == pytest.approx([0.7])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 2, 1, 3]])
def test_no_threshold_separates_equal_probabilities(order):
    # F1 is 4/5 with both probabilities of 0.5, and 2/3 with neither.
    labels, probabilities = column(1, 1, 0, 0)[order], column(0.9, 0.5, 0.5, 0.1)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities)
    assert thresholds == pytest.approx([0.3])
    alone = calibration.fit_thresholds(column(1, 0), column(0.5, 0.5), 0.9)
    np.testing.assert_array_equal(alone[0], [1])


def test_labels_that_cannot_be_fitted_are_listed():
    labels = np.array([[1, 0, 0, -1], [0, 0, 1, -1], [0, -1, 0, -1]])
    probabilities = np.tile(column(0.9, 0.8, 0.1), 4)
    thresholds, unfitted = calibration.fit_thresholds(labels, probabilities, 0.6)
    np.testing.assert_allclose(thresholds, [0.85, 0.5, 1, 0.5])
    assert unfitted == [1, 2, 3]


@pytest.mark.parametrize("positives", [4, 5])
def test_a_label_with_fewer_than_five_positives_keeps_a_threshold_of_one_half(
    positives,
):
    # All positives rank last, so a fitted threshold would predict every image.
    labels = np.array([[0]] * 20 + [[1]] * positives)
    scores = -np.arange(len(labels), dtype=float)[:, None]
    fitted = calibration.fit(labels, scores, "bce")
    assert fitted.unfitted == ((0,) if positives == 4 else ())
    assert (fitted.thresholds[0] == 0.5) == (positives == 4)


def test_unknown_images_are_left_out_of_that_threshold_only(table):
    labels, scores = table
    probabilities = expit(scores)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities)
    for index, threshold in enumerate(thresholds):
        known = labels[:, index] >= 0
        pair = labels[known][:, [index]], probabilities[known][:, [index]]
        assert calibration.fit_thresholds(*pair)[0] == [threshold]


def test_the_best_threshold_of_calibrated_probabilities_is_half_of_its_f1():
    generator = np.random.default_rng(0)
    probabilities = generator.random((200_000, 1)) ** 2
    labels = generator.random(probabilities.shape) < probabilities
    (threshold,), _ = calibration.fit_thresholds(labels.astype(int), probabilities)
    reached = multi_label.precision_recall_f1(
        labels.astype(int), probabilities, threshold
    )
    assert threshold == pytest.approx(reached["OF1"] / 2, abs=0.02)


def test_a_label_with_equal_probabilities_is_predicted_on_every_image():
    labels, probabilities = column(0, 1, 0, 0), np.full((4, 1), 0.3)
    thresholds, _ = calibration.fit_thresholds(labels, probabilities)
    assert thresholds == pytest.approx([0.15])


@pytest.mark.parametrize("loss", ["bce", "euclidean"])
def test_fit_takes_thresholds_from_the_calibrated_probabilities(table, loss):
    labels, scores = table
    labels[:, 1] = 0
    result = calibration.fit(labels, scores, loss, 0.6)
    temperature = calibration.fit_temperature(labels, scores, loss)
    before = Calibration(1.0, (0.5,) * 4).probabilities(scores, loss)
    after = result.probabilities(scores, loss)
    thresholds, unfitted = calibration.fit_thresholds(labels, after, 0.6)
    assert result == Calibration(
        temperature,
        tuple(thresholds),
        0.6,
        tuple(unfitted),
        reliability.calibration_error(labels, before),
        reliability.calibration_error(labels, after),
    )
    # Only the label without positives and those out of reach of the floor.
    assert [i for i in range(4) if thresholds[i] in (0.5, 1.0)] == unfitted
    assert (1 in unfitted, thresholds[1]) == (True, 0.5)


def test_calibration_corrects_overconfident_sigmoids(table):
    result = calibration.fit(*table, "bce")
    assert result.temperature == pytest.approx(3, rel=0.2)
    assert result.error_after < 0.5 * result.error_before


def test_a_fitted_calibration_survives_json(table):
    names = ("a", "b", "c", "d")
    fitted = calibration.fit(*table, "bce", 0.99)
    assert Calibration.from_json(fitted.to_json(names), names) == fitted


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: calibration.fit(column(-1, -1), column(1.0, 2.0), "bce"),
            r"labels of shape \(2, 1\), none known",
        ),
        (
            lambda: calibration.fit(np.zeros((0, 3)), np.zeros((0, 3)), "bce"),
            r"labels of shape \(0, 3\), none known",
        ),
        (
            lambda: calibration.fit_temperature(column(1, 0), column(1.0, 2.0), "mse"),
            "Received: loss='mse'",
        ),
        (
            lambda: calibration.fit_temperature(
                column(1, 0), column(1.0, np.inf), "bce"
            ),
            "Received: 1 infinite of 2",
        ),
        (
            lambda: calibration.fit_thresholds(column(1, 0), column(0.5, -2.0)),
            "Received: -2.0",
        ),
        (
            lambda: calibration.fit_thresholds(column(1), column(0.5), 1.1),
            "Received: precision_floor=1.1",
        ),
        (lambda: Calibration(1.0, (0.5,), unfitted=(1,)), "indices of labels"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
