"""Tests the warnings that go with the metrics of a protocol."""

import dataclasses

import numpy as np
import pytest

from ram_tf.metrics.protocols import PROTOCOLS, warnings_for

every_protocol = pytest.mark.parametrize("name", PROTOCOLS)


def warn(name, labels, probabilities, label_names="abc"):
    names = list(label_names[: np.shape(labels)[1]])
    return warnings_for(labels, probabilities, names, PROTOCOLS[name])


@every_protocol
def test_ordinary_data_give_no_warnings(name):
    assert warn(name, [[1, 0], [0, 1]], [[0.9, 0.9], [0.1, 0.9]]) == []


def test_probabilities_of_a_softmax_give_a_warning():
    labels = [[1, 1], [1, 0]]
    for rounded in (np.float64, np.float16):
        softmax = np.array([[0.7, 0.3], [0.4, 0.6]]).astype(rounded)
        (sentence,) = warn("rdar", labels, softmax)
        assert "at most 1 label of an image can pass 0.5" in sentence
    assert warn("rdar", labels, [[0.7, 0.6], [0.4, 0.6]]) == []


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.8, "at most 1 label of"), (0.3, "at most 3 labels of"), (0.2, None), (0, None)],
)
def test_the_warning_names_how_many_labels_of_a_softmax_can_pass(threshold, expected):
    softmax = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    protocol = dataclasses.replace(PROTOCOLS["rdar"], name="", threshold=threshold)
    sentences = warnings_for([[1] * 4] * 2, softmax, list("abcd"), protocol)
    found = [sentence for sentence in sentences if "sum to 1" in sentence]
    assert len(found) == bool(expected)
    assert all(expected in sentence for sentence in found)


def test_a_single_label_gives_no_softmax_warning():
    assert warn("rdar", [[1], [1]], [[1.0], [1.0]]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdar", "left out of mAP, left out of CP, CR and CF1"),
        ("srn", "left out of mAP, recall 1 in CR and CF1"),
        ("asl", "AP 0 in mAP, recall 0 in CR and CF1"),
    ],
)
def test_labels_without_positives_give_a_warning(name, expected):
    sentences = warn(name, [[1, 0, 1]], [[0.9, 0.9, 0.9]])
    assert sentences == [f"Labels without positives ({expected}): b"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdar", "precision 0"),
        ("mlgcn", "precision 0, one wrong prediction each in OP"),
        ("srn", "precision 1"),
    ],
)
def test_labels_never_predicted_give_a_warning(name, expected):
    sentences = warn(name, [[1, 1, 1]], [[0.9, 0.1, 0.2]])
    assert sentences == [f"Labels never predicted ({expected}): b, c"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdar", []),
        ("asl", []),
        ("mlgcn", ["Unknown labels (1) count as absent in precision and recall."]),
        ("srn", ["Unknown labels (1) count as absent in precision and recall."]),
        ("csra", ["Unknown labels (1) may be among the top 3 of their images."]),
    ],
)
def test_unknown_labels_that_count_give_a_warning(name, expected):
    assert warn(name, [[1, -1], [1, 1]], [[0.9, 0.9], [0.9, 0.9]]) == expected


def test_a_label_predicted_only_where_unknown_counts_as_predicted_in_mlgcn():
    labels, probabilities = [[1, -1], [1, 1]], [[0.9, 0.9], [0.9, 0.1]]
    assert not any("never" in s for s in warn("mlgcn", labels, probabilities))
    assert any("never" in s for s in warn("csra", labels, probabilities))
