"""Tests the rules of each protocol on tables worked by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ram_tf.metrics.protocols import PROTOCOLS, Protocol, compute_metrics

every_protocol = pytest.mark.parametrize("name", PROTOCOLS)


def by(name, labels, probabilities):
    return compute_metrics(np.array(labels), np.array(probabilities), PROTOCOLS[name])


def column(*values):
    return np.array(values)[:, None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Precisions at the positives of 1 0 0 1 1: 1, 2/4, 3/5.
        ("rdar", (1 + 2 / 4 + 3 / 5) / 3),
        ("mlgcn", (1 + 2 / 4 + 3 / 5) / 3),
        ("csra", (1 + 2 / 4 + 3 / 5) / 3),
        ("asl", (1 + 2 / 4 + 3 / 5) / (3 + 1e-8)),
        # Made monotone: 1, 3/5, 3/5.
        ("srn", (1 + 3 / 5 + 3 / 5) / 3),
        # Recall 1/3 reaches 0, .1, .2, .3: four ones, then seven of 3/5.
        ("voc07", (4 + 7 * 3 / 5) / 11),
    ],
)
def test_average_precision_of_each_source(name, expected):
    labels, probabilities = column(1, 0, 0, 1, 1), column(0.9, 0.8, 0.7, 0.6, 0.5)
    result = by(name, labels, probabilities)
    assert result["AP"] == pytest.approx([expected], rel=1e-12)
    assert result["mAP"] == pytest.approx(expected, rel=1e-12)


@every_protocol
def test_a_label_without_positives_has_average_precision_0_in_the_mean_of_asl(name):
    result = by(name, [[1, 0], [0, 0]], [[0.9, 0.9], [0.1, 0.1]])
    assert np.isnan(result["AP"][1])
    assert result["mAP"] == pytest.approx(1 / 2 if name == "asl" else 1)


@every_protocol
def test_every_average_precision_leaves_unknown_labels_out(name):
    result = by(name, column(-1, 1, 0), column(0.9, 0.8, 0.7))
    assert result["AP"] == pytest.approx([1])


@pytest.mark.parametrize(
    ("name", "probability", "predicted"),
    [
        ("rdar", 0.5, True),
        ("mlgcn", 0.5, True),
        ("csra", 0.5, True),
        ("voc07", 0.5, True),
        ("rdar", 0.4999, False),
        ("srn", 0.5, False),
        ("srn", np.nextafter(0.5, 1), True),
        ("asl", 0.8, False),
        ("asl", np.nextafter(0.8, 1), True),
    ],
)
def test_a_probability_must_reach_or_exceed_the_threshold(name, probability, predicted):
    result = by(name, column(1, 0), column(probability, 0.0))
    assert result["OR"] == predicted


@every_protocol
def test_class_f1_is_harmonic_or_the_mean_of_the_labels(name):
    labels = [[1, 1], [0, 1], [0, 1], [0, 1]]
    probabilities = [[0.9, 0.9], [0.9, 0.1], [0.9, 0.1], [0.1, 0.1]]
    # Precisions 1/3 and 1, recalls 1 and 1/4.
    result = by(name, labels, probabilities)
    precision, recall = 2 / 3, 5 / 8
    assert [result["CP"], result["CR"]] == pytest.approx([precision, recall])
    if name in ("srn", "asl"):
        expected = (2 * 1 / 3 / (4 / 3) + 2 * 1 / 4 / (5 / 4)) / 2
    else:
        expected = 2 * precision * recall / (precision + recall)
    assert result["CF1"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "class_precision", "overall_precision"),
    [
        ("rdar", 1 / 2, 1),
        ("voc07", 1 / 2, 1),
        ("asl", 1 / 2, 1),
        ("srn", 1, 1),
        # One correct prediction, and one wrong one that is only counted.
        ("mlgcn", 1 / 2, 1 / 2),
        ("csra", 1 / 2, 1 / 2),
    ],
)
def test_precision_of_a_label_never_predicted(name, class_precision, overall_precision):
    result = by(name, [[1, 1], [0, 1]], [[0.9, 0.1], [0.1, 0.2]])
    assert result["CP"] == pytest.approx(class_precision)
    assert result["OP"] == pytest.approx(overall_precision)


@every_protocol
def test_precision_without_predictions_is_1_in_srn_only(name):
    result = by(name, [[1, 0]], [[0.1, 0.1]])
    assert result["OP"] == (1 if name == "srn" else 0)
    assert result["OR"] == result["OF1"] == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Precision and recall of the labels: 1 and 1; none present, one predicted;
        # none present, none predicted.
        ("rdar", (1, 1, 1)),
        ("voc07", (1, 1, 1)),
        ("mlgcn", (1, 1, 1)),
        ("csra", (1, 1, 1)),
        ("srn", ((1 + 0 + 1) / 3, (1 + 1 + 1) / 3, (1 + 0 + 1) / 3)),
        ("asl", (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_class_metrics_of_labels_without_positives(name, expected):
    result = by(name, [[1, 0, 0]], [[0.9, 0.9, 0.1]])
    assert [result[key] for key in ("CP", "CR", "CF1")] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "ending", "precision", "recall"),
    [
        # The first label is unknown. Left out, it is no mistake and not in the top 3.
        ("rdar", "", 3 / 3, 3 / 3),
        ("voc07", "", 3 / 3, 3 / 3),
        ("asl", "", 3 / 3, 3 / 3),
        # Absent, it is a mistake and displaces the last from the top 3.
        ("srn", "", 3 / 4, 3 / 3),
        ("srn", "_top3", 2 / 3, 2 / 3),
        # The last is then never predicted, which counts as one more mistake.
        ("mlgcn", "", 3 / 4, 3 / 3),
        ("mlgcn", "_top3", 2 / 4, 2 / 3),
        # The first is no mistake, but never predicted where it is known; nor the last.
        ("csra", "", 3 / 4, 3 / 3),
        ("csra", "_top3", 2 / 4, 2 / 3),
    ],
)
def test_precision_and_recall_with_an_unknown_label(name, ending, precision, recall):
    result = by(name, [[-1, 1, 1, 1]], [[0.99, 0.98, 0.97, 0.96]])  # falling
    found = result[f"OP{ending}"], result[f"OR{ending}"]
    assert found == pytest.approx((precision, recall))


def test_an_unknown_label_predicted_elsewhere_is_no_mistake_in_csra():
    labels, probabilities = [[-1, 1], [1, 1]], [[0.9, 0.9], [0.9, 0.9]]
    assert by("csra", labels, probabilities)["OP"] == 1
    assert by("mlgcn", labels, probabilities)["OP"] == 3 / 4


@every_protocol
def test_main_metrics_use_the_top_3_in_the_paper_and_all_labels_elsewhere(name):
    result = by(name, [[1, 1, 1, 1]], [[0.9, 0.9, 0.9, 0.9]])
    assert result["OR"] == (3 / 4 if name in ("rdar", "voc07") else 1)


@pytest.mark.parametrize("name", ["mlgcn", "csra", "srn"])
def test_the_top_3_also_pass_the_threshold_and_are_an_additional_set(name):
    labels = [[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]]
    probabilities = [[0.9, 0.8, 0.7, 0.6, 0.1], [0.1, 0.2, 0.3, 0.6, 0.7]]
    result = by(name, labels, probabilities)
    assert [result["OP"], result["OR"]] == pytest.approx([6 / 6, 6 / 8])
    # The fourth label of the first image is cut; the second image has only two.
    assert [result["OP_top3"], result["OR_top3"]] == pytest.approx([5 / 5, 5 / 8])


@every_protocol
def test_metrics_without_any_positive_are_nan(name):
    result = by(name, [[0, -1], [0, 0]], [[0.9, 0.9], [0.1, 0.1]])
    assert np.isnan(result.pop("AP")).all()
    assert all(math.isnan(value) for value in result.values())


def test_the_top_3_of_fewer_than_three_labels_are_all_of_them():
    assert by("mlgcn", [[1, 0]], [[0.9, 0.6]])["OP_top3"] == 1 / 2


@every_protocol
def test_a_protocol_survives_json(name):
    written = json.loads(json.dumps(dataclasses.asdict(PROTOCOLS[name])))
    assert written["name"] == name
    assert Protocol(**written | {"top_k": tuple(written["top_k"])}) == PROTOCOLS[name]


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([[1, 0]], [[0.5, 3.2]], r"in \[0, 1\]. Received: 3.2"),
        ([[1, 0]], [[-0.1, 0.2]], r"in \[0, 1\]. Received: -0.1"),
        ([[1, 0]], [[0.5, np.nan]], "Received: 1 NaN of 2 scores"),
        ([[1, 0]], [[0.5]], r"\(1, 2\), scores of shape \(1, 1\)"),
    ],
)
def test_a_wrong_argument_is_named(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        by("rdar", labels, probabilities)
