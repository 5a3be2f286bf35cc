"""Tests the metrics against hand-worked tables, scikit-learn and TF Addons."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from ram_tf.metrics import multi_label
from tests.support.paths import FILES

GOLDEN = FILES / "addons.npz"
METRICS = ("OP", "OR", "OF1", "CP", "CR", "CF1")


def column(*values):
    return np.array(values)[:, None]


def ranked(*labels):
    """Labels and scores of one label whose images are ranked in this order."""
    return column(*labels), column(*range(len(labels), 0, -1))


@pytest.fixture
def table():
    generator = np.random.default_rng(7)
    labels = (generator.random((60, 5)) < 0.3).astype("int8")
    return labels, generator.random((60, 5)) + 0.3 * labels


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        # Precisions at the positives of 0 1 0 1 1: 1/2, 2/4, 3/5.
        ("none", (1 / 2 + 2 / 4 + 3 / 5) / 3),
        # Made monotone from the right each becomes 3/5.
        ("voc2010", 3 / 5),
        ("voc2007", 3 / 5),
    ],
)
def test_average_precision_of_a_rising_curve(interpolation, expected):
    result = multi_label.average_precision(*ranked(0, 1, 0, 1, 1), interpolation)
    np.testing.assert_allclose(result, [expected])


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        # Precisions at the positives of 1 0 0 1 1: 1, 2/4, 3/5.
        ("none", (1 + 2 / 4 + 3 / 5) / 3),
        ("voc2010", (1 + 3 / 5 + 3 / 5) / 3),
        # Recall 1/3 reaches 0, .1, .2, .3: four ones, then seven of 3/5.
        ("voc2007", (4 + 7 * 3 / 5) / 11),
    ],
)
def test_average_precision_of_a_falling_curve(interpolation, expected):
    result = multi_label.average_precision(*ranked(1, 0, 0, 1, 1), interpolation)
    np.testing.assert_allclose(result, [expected])


def test_eleven_points_include_a_recall_that_floats_would_miss():
    # 3 of 10 positives are ranked first: precision 1 at the recalls 0, .1, .2 and .3,
    # and that of the last rank, 10/14, at the others.
    labels = [1] * 3 + [0] * 4 + [1] * 7
    result = multi_label.average_precision(*ranked(*labels), "voc2007")
    np.testing.assert_allclose(result, [(4 + 7 * 10 / 14) / 11])


def test_average_precision_equals_scikit_learn(table):
    labels, scores = table
    expected = [
        average_precision_score(truth, ranking)
        for truth, ranking in zip(labels.T, scores.T, strict=True)
    ]
    np.testing.assert_allclose(multi_label.average_precision(labels, scores), expected)


def test_equal_scores_keep_the_order_of_the_images():
    scores = column(0.5, 0.5, 0.5)
    first = multi_label.average_precision(column(1, 0, 0), scores)
    last = multi_label.average_precision(column(0, 0, 1), scores)
    np.testing.assert_allclose([first[0], last[0]], [1, 1 / 3])


@pytest.mark.parametrize("interpolation", ["none", "voc2010", "voc2007"])
def test_a_label_without_positives_has_no_average_precision(interpolation):
    labels = np.array([[0, 1, -1], [0, 0, -1]])
    result = multi_label.average_precision(labels, np.zeros((2, 3)), interpolation)
    np.testing.assert_array_equal(result, [np.nan, 1, np.nan])


@pytest.mark.parametrize("interpolation", ["none", "voc2010", "voc2007"])
def test_unknown_images_are_left_out_of_that_ranking_only(table, interpolation):
    labels, scores = table
    labels[::3, 1] = -1
    result = multi_label.average_precision(labels, scores, interpolation)
    for label, rows in ((1, labels[:, 1] >= 0), (2, slice(None))):
        pair = labels[rows, label][:, None], scores[rows, label][:, None]
        alone = multi_label.average_precision(*pair, interpolation)
        np.testing.assert_allclose(result[label], alone[0])


@pytest.mark.parametrize("interpolation", ["none", "voc2010", "voc2007"])
def test_a_perfect_ranking_has_average_precision_one(table, interpolation):
    labels, _ = table
    result = multi_label.average_precision(labels, labels, interpolation)
    np.testing.assert_allclose(result, 1)


def test_mean_average_precision_leaves_rare_labels_out(table):
    labels, scores = table
    labels[:, 3] = 0
    labels[5, 3] = 1
    each = multi_label.average_precision(labels, scores)
    assert multi_label.mean_average_precision(labels, scores) == pytest.approx(
        each.mean()
    )
    assert multi_label.mean_average_precision(
        labels, scores, min_positives=2
    ) == pytest.approx(np.delete(each, 3).mean())
    assert np.isnan(
        multi_label.mean_average_precision(labels, scores, min_positives=61)
    )


def test_each_label_may_have_its_own_threshold(table):
    labels, scores = table
    thresholds = (0.2, 0.4, 0.5, 0.7, 0.9)
    shifted = scores - np.array(thresholds) + 0.5
    expected = multi_label.precision_recall_f1(labels, shifted)
    assert multi_label.precision_recall_f1(labels, scores, thresholds) == expected


def test_equation_15_by_hand():
    labels = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0]])
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.6], [0.7, 0.9, 0.4]])
    # Predicted 2, 3, 1; correct 1, 2, 0; present 2, 2, 1.
    precision, recall = (1 / 2 + 2 / 3 + 0) / 3, (1 / 2 + 2 / 2 + 0) / 3
    expected = {
        "OP": 3 / 6,
        "OR": 3 / 5,
        "OF1": 6 / 11,
        "CP": precision,
        "CR": recall,
        "CF1": 2 * precision * recall / (precision + recall),
    }
    assert multi_label.precision_recall_f1(labels, scores) == pytest.approx(expected)


def test_precision_and_recall_equal_scikit_learn(table):
    labels, scores = table
    result = multi_label.precision_recall_f1(labels, scores, threshold=0.6)
    predicted = scores >= 0.6
    micro = precision_recall_fscore_support(labels, predicted, average="micro")
    macro = precision_recall_fscore_support(labels, predicted, average="macro")
    assert [result[key] for key in ("OP", "OR", "OF1")] == pytest.approx(micro[:3])
    # Not its macro F1, which is the mean of F1 over the labels.
    assert [result[key] for key in ("CP", "CR")] == pytest.approx(macro[:2])


def test_overall_f1_equals_the_micro_f1_of_addons():
    with np.load(GOLDEN) as golden:
        result = multi_label.precision_recall_f1(
            golden["metric_labels"], golden["metric_scores"]
        )
        assert result["OF1"] == pytest.approx(float(golden["f1_micro"]), rel=1e-6)


def test_class_metrics_equal_those_of_the_confusion_matrices_of_addons():
    with np.load(GOLDEN) as golden:
        result = multi_label.precision_recall_f1(
            golden["metric_labels"], golden["metric_scores"]
        )
        confusion = golden["confusion"]  # (L, 2, 2): truth, prediction
    correct = confusion[:, 1, 1]
    precision = (correct / confusion[:, :, 1].sum(1)).mean()
    recall = (correct / confusion[:, 1].sum(1)).mean()
    expected = precision, recall, 2 * precision * recall / (precision + recall)
    assert [result[key] for key in ("CP", "CR", "CF1")] == pytest.approx(expected)


def test_top_k_limits_the_labels_that_reach_the_threshold():
    labels = np.array([[1, 1, 1, 0]])
    scores = np.array([[0.9, 0.8, 0.7, 0.6]])
    free = multi_label.precision_recall_f1(labels, scores)
    two = multi_label.precision_recall_f1(labels, scores, top_k=2)
    above = multi_label.precision_recall_f1(labels, scores, threshold=0.85, top_k=2)
    assert [free["OP"], free["OR"]] == pytest.approx([3 / 4, 1])
    assert [two["OP"], two["OR"]] == pytest.approx([1, 2 / 3])
    assert [above["OP"], above["OR"]] == pytest.approx([1, 1 / 3])


def test_without_threshold_top_k_predicts_exactly_k_of_equal_scores():
    labels = np.array([[1, 0, 0, 0], [0, 0, 0, 1]])
    result = multi_label.precision_recall_f1(labels, np.zeros((2, 4)), -np.inf, top_k=3)
    # Three each; the fourth label loses the tie.
    assert [result["OP"], result["OR"]] == pytest.approx([1 / 6, 1 / 2])


@pytest.mark.parametrize("top_k", [None, 2])
def test_an_unknown_label_is_not_in_the_top_k_and_is_no_mistake(top_k):
    labels = np.array([[-1, 1, 1], [1, 1, 0]])
    scores = np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.2]])
    result = multi_label.precision_recall_f1(labels, scores, top_k=top_k)
    assert result == pytest.approx(dict.fromkeys(METRICS, 1.0))


def test_a_label_never_predicted_counts_with_precision_zero():
    labels = np.array([[1, 1], [1, 0]])
    scores = np.array([[0.9, 0.1], [0.9, 0.1]])
    result = multi_label.precision_recall_f1(labels, scores)
    assert [result["CP"], result["OP"]] == pytest.approx([1 / 2, 1])


def test_a_label_without_positives_counts_in_overall_but_not_in_class_metrics():
    labels = np.array([[1, 0], [1, 0]])
    scores = np.array([[0.9, 0.9], [0.9, 0.1]])
    result = multi_label.precision_recall_f1(labels, scores)
    assert [result["CP"], result["CR"], result["OP"]] == pytest.approx([1, 1, 2 / 3])


def test_metrics_are_0_with_nothing_correct_and_nan_with_nothing_present():
    nothing_correct = multi_label.precision_recall_f1(column(1, 0), column(0.1, 0.2))
    assert nothing_correct == dict.fromkeys(METRICS, 0.0)
    nothing_present = multi_label.precision_recall_f1(column(0, -1), column(0.9, 0.2))
    assert all(np.isnan(nothing_present[key]) for key in METRICS)


def test_metrics_are_python_floats(table):
    result = multi_label.precision_recall_f1(*table)
    assert {type(value) for value in result.values()} == {float}


def test_confusion_by_hand():
    labels = np.array([[1, 0], [1, -1], [0, 0], [-1, 1]])
    predicted = np.array([[1, 1], [0, 1], [1, 0], [1, 0]], bool)
    counts = multi_label.confusion(labels, predicted)
    assert {name: value.tolist() for name, value in counts.items()} == {
        "TP": [1, 0],
        "FP": [1, 1],
        "FN": [1, 1],
        "TN": [0, 1],
    }


def test_precision_steps_by_hand():
    # Present, absent, present, absent, absent, present; an unknown one in between.
    labels = column(1, 0, -1, 1, 0, 0, 1)
    scores = column(0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4)
    (steps,) = multi_label.precision_steps(labels, scores)
    assert steps == pytest.approx([1, 2 / 3, 1 / 2])
    # Absent, present, present: precision rises, so the first step is raised.
    labels, scores = column(0, 1, 1), column(3, 2, 1)
    (steps,) = multi_label.precision_steps(labels, scores)
    assert steps == pytest.approx([1 / 2, 2 / 3])
    (steps,) = multi_label.precision_steps(labels, scores, monotone=True)
    assert steps == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: multi_label.average_precision([[1]], [[1.0]], "voc"),
            "Received: interpolation='voc'",
        ),
        (
            lambda: multi_label.average_precision([[1, 0]], [[1.0]]),
            r"labels of shape \(1, 2\), scores of shape \(1, 1\)",
        ),
        (
            lambda: multi_label.precision_recall_f1([[1, 0]], [[1.0, np.nan]]),
            "Received: 1 NaN of 2 scores",
        ),
        (
            lambda: multi_label.precision_recall_f1([[1]], [[1.0]], top_k=0),
            "Received: top_k=0",
        ),
        (
            lambda: multi_label.precision_recall_f1([[1, 0]], [[0.5, 0.5]], (0.1,) * 3),
            r"Expected a number or shape \(L,\) = \(2,\). Received: shape \(3,\)",
        ),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
