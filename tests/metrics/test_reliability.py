"""Tests calibration errors against values by hand, scikit-learn and a loop."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve

from ram_tf.metrics import reliability


def column(*values):
    return np.array(values)[:, None]


@pytest.fixture
def table():
    """Labels, some of them unknown, and scores, some of them equal."""
    generator = np.random.default_rng(3)
    scores = (3 * generator.normal(size=(300, 4))).round(1)
    labels = (generator.random((300, 4)) < expit(scores / 3)).astype("int8")
    labels[generator.random((300, 4)) < 0.2] = -1
    return labels, scores


def test_calibration_error_by_hand():
    # In the bin up to 1/15 one of two is present, of the two at 0.8 and 0.82 both are.
    probabilities = column(0.02, 0.04, 0.81, 0.82)
    labels = column(0, 1, 1, 1)
    expected = (2 * abs(0.03 - 1 / 2) + abs(0.815 - 1) * 2) / 4
    result = reliability.calibration_error(labels, probabilities)
    assert result == pytest.approx(expected)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_reliability_curve_equals_scikit_learn(table, bins):
    labels, scores = table
    # Borders of bins, 0 and 1 among them.
    probabilities = np.abs(scores / np.abs(scores).max()).round(2)
    known = labels >= 0
    share, mean = calibration_curve(labels[known], probabilities[known], n_bins=bins)
    result = reliability.reliability_curve(labels, probabilities, bins)
    filled = result[2] > 0
    np.testing.assert_allclose(result[0][filled], mean)
    np.testing.assert_allclose(result[1][filled], share)


def test_calibration_error_equals_a_loop_over_the_bins(table):
    labels, scores = table
    probabilities = expit(scores)
    known = labels >= 0
    p, y = probabilities[known], labels[known]
    expected = 0
    for index in range(15):
        inside = (p > index / 15) & (p <= (index + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    result = reliability.calibration_error(labels, probabilities)
    assert result == pytest.approx(expected)


def test_bins_include_their_upper_ends_and_the_first_includes_zero():
    labels, probabilities = column(1, 0, 0, 1), column(0.0, 0.25, 0.5, 1.0)
    mean, share, count = reliability.reliability_curve(labels, probabilities, 4)
    np.testing.assert_array_equal(count, [2, 1, 0, 1])
    np.testing.assert_array_equal(mean, [0.125, 0.5, np.nan, 1])
    np.testing.assert_array_equal(share, [0.5, 0, np.nan, 1])


def test_calibration_error_of_the_truth_is_zero_and_of_its_opposite_one(table):
    labels, _ = table
    truth = (labels > 0).astype("float64")
    assert reliability.calibration_error(labels, truth) == 0
    assert reliability.calibration_error(labels, 1 - truth) == 1


def test_calibration_error_without_known_labels_is_nan():
    assert np.isnan(reliability.calibration_error(column(-1), column(0.5)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reliability.calibration_error(column(1), column(1.5)),
            "Received: 1.5",
        ),
        (
            lambda: reliability.reliability_curve(column(1), column(0.5), 0),
            "Received: bins=0",
        ),
        (
            lambda: reliability.calibration_error(column(1), column(0.5, 0.5)),
            r"labels of shape \(1, 1\), scores of shape \(2, 1\)",
        ),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
