"""Pointing and overlap of regions, on boxes made by hand."""

import numpy as np
import pytest

from ram_tf import region_metrics


def column(*values):
    return np.array(values)[:, None]


def test_pointing_asks_the_best_region_of_each_label():
    boxes = (
        {"cat": np.array([[0.5, 0.0, 1.0, 0.3]]), "dog": np.array([[0, 0, 1, 1]])},
    )
    centres = np.array(
        [[[0.2, 0.7], [0.7, 0.2]]]
    )  # y, x: only the second is in the cat
    for cat_scores, expected in (([1.0, 2.0], 1.0), ([2.0, 1.0], 0.5)):
        region_scores = np.array([[[cat_scores[0], 0.0], [cat_scores[1], 0.0]]])
        score, pairs = region_metrics.pointing_score(
            boxes, np.array([[1, 1]]), ("cat", "dog"), centres, region_scores
        )
        assert (score, pairs) == (expected, 2)


def test_pointing_counts_pairs_that_are_present_and_boxed():
    inside = np.array([[0.4, 0.4, 0.6, 0.6]])
    boxes = (
        {"cat": inside, "dog": inside},  # the dog is absent
        {},  # a cat that nobody boxed
        {"cat": np.zeros((0, 4))},
        {"cat": inside, "dog": inside},  # the cat is unknown
    )
    labels = np.array([[1, 0], [1, 0], [1, 0], [-1, 0]])
    score = region_metrics.pointing_score(
        boxes, labels, ("cat", "dog"), np.full((4, 1, 2), 0.5), np.zeros((4, 1, 2))
    )
    assert score == (1.0, 1)


def test_pointing_is_satisfied_by_any_box_but_not_by_parts_of_two():
    # In y the centre lies in the first box, in x in the second.
    two = np.array([[0.4, 0.0, 0.6, 0.1], [0.0, 0.4, 0.1, 0.6]])
    hit = np.array([[0.0, 0.0, 0.1, 0.1], [0.4, 0.4, 0.5, 0.5]])
    for boxes, expected in ((two, 0.0), (hit, 1.0)):
        score, _ = region_metrics.pointing_score(
            ({"cat": boxes},),
            column(1),
            ("cat",),
            np.full((1, 1, 2), 0.5),
            np.zeros((1, 1, 1)),
        )
        assert score == expected


def test_pointing_outside_of_the_image_is_a_miss():
    score, _ = region_metrics.pointing_score(
        ({"cat": np.array([[0, 0, 1, 1]])},),
        column(1),
        ("cat",),
        np.array([[[0.5, 1.01]]]),
        np.zeros((1, 1, 1)),
    )
    assert score == 0


def test_pointing_without_pairs_is_no_number():
    score, pairs = region_metrics.pointing_score(
        ({},), column(1), ("cat",), np.zeros((1, 1, 2)), np.zeros((1, 1, 1))
    )
    assert np.isnan(score)
    assert pairs == 0


def test_region_iou_by_hand():
    # Halves that share a quarter of the image have IoU 1/3; disjoint ones 0.
    boxes = np.array([[[0, 0, 1, 0.5], [0, 0.25, 1, 0.75], [0, 0.75, 1, 1]]])
    assert region_metrics.region_iou(boxes) == pytest.approx((1 / 3 + 0 + 0) / 3)


def test_region_iou_is_one_for_the_same_region_again_and_averages_over_images():
    same = np.tile([0.1, 0.2, 0.6, 0.9], (1, 4, 1))
    apart = np.array([[[0, 0, i / 4, 0] for i in range(4)]])  # without area
    assert region_metrics.region_iou(same) == pytest.approx(1)
    assert region_metrics.region_iou(np.concatenate([same, apart])) == pytest.approx(
        1 / 2
    )


def test_region_iou_of_one_region_is_no_number():
    assert np.isnan(region_metrics.region_iou(np.zeros((3, 1, 4))))


def test_scores_of_other_regions_than_those_placed_are_refused():
    message = r"1 dicts, 1 names, \(1, 1\), \(1, 2, 2\) and \(1, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        region_metrics.pointing_score(
            ({},), np.ones((1, 1)), ("cat",), np.zeros((1, 2, 2)), np.zeros((1, 1, 1))
        )
