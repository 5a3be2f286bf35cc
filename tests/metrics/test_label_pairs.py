"""Tests the counts of label pairs against counting them one by one."""

import numpy as np
import pytest

from ram_tf.metrics import label_pairs


@pytest.fixture
def table():
    generator = np.random.default_rng(7)
    labels = (generator.random((60, 5)) < 0.3).astype("int8")
    return labels, generator.random((60, 5)) + 0.3 * labels


@pytest.mark.parametrize("seed", range(3))
def test_predicted_instead_equals_counting_image_by_image(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, 2, (30, 4))
    labels[:, 3] = -1  # never missed
    predicted = generator.random((30, 4)) < 0.5
    shares, counts = label_pairs.predicted_instead(labels, predicted)
    for i in range(4):
        missed = [n for n in range(30) if labels[n, i] == 1 and not predicted[n, i]]
        for j in range(4):
            wrong = [n for n in missed if labels[n, j] == 0 and predicted[n, j]]
            assert counts[i, j] == len(wrong)
            if missed:
                assert shares[i, j] == pytest.approx(len(wrong) / len(missed))
            else:
                assert np.isnan(shares[i, j])


def test_cooccurrence_by_hand():
    # Label 1 of the last image is unknown, and no image has label 2.
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [1, -1, 0]])
    shares, counts = label_pairs.cooccurrence(labels)
    nan = np.nan
    np.testing.assert_allclose(shares, [[1, 1 / 2, 0], [1 / 2, 1, 0], [nan] * 3])
    np.testing.assert_array_equal(counts, [[3, 1, 0], [1, 2, 0], [0, 0, 0]])


def test_cooccurrence_equals_counting_pair_by_pair(table):
    labels, _ = table
    labels[::4, 1] = labels[::3, 2] = -1
    shares, counts = label_pairs.cooccurrence(labels)
    for i, j in np.ndindex(5, 5):
        known = labels[(labels[:, i] == 1) & (labels[:, j] >= 0), j]
        assert shares[i, j] == pytest.approx(known.mean())
        assert counts[i, j] == known.sum()


def test_cooccurrence_accepts_predictions_as_bool(table):
    _, scores = table
    predicted = scores >= 0.6
    for of_bool, of_labels in zip(
        label_pairs.cooccurrence(predicted),
        label_pairs.cooccurrence(predicted.astype(int)),
        strict=True,
    ):
        np.testing.assert_array_equal(of_bool, of_labels)


def test_cooccurrence_refuses_labels_that_are_no_table():
    message = r"Expected shape \(n, L\). Received: labels of shape \(2,\)"
    with pytest.raises(ValueError, match=message):
        label_pairs.cooccurrence([1, 0])
