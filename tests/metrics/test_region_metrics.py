"""Tests pointing score, spread and overlap of regions on hand-made boxes."""

import numpy as np
import pytest

from ram_tf.metrics import region_metrics


def column(*values):
    return np.array(values)[:, None]


def test_pointing_uses_the_best_region_of_each_label():
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
        {},  # a cat without a box
        {"cat": np.zeros((0, 4))},
        {"cat": inside, "dog": inside},  # the cat is unknown
    )
    labels = np.array([[1, 0], [1, 0], [1, 0], [-1, 0]])
    score = region_metrics.pointing_score(
        boxes, labels, ("cat", "dog"), np.full((4, 1, 2), 0.5), np.zeros((4, 1, 2))
    )
    assert score == (1.0, 1)


def test_pointing_hits_any_one_box_but_not_parts_of_two():
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


def test_pointing_without_pairs_is_nan():
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


def test_region_iou_of_one_region_is_nan():
    assert np.isnan(region_metrics.region_iou(np.zeros((3, 1, 4))))


def test_scores_of_another_number_of_regions_are_refused():
    message = r"1 dicts, 1 names, \(1, 1\), \(1, 2, 2\) and \(1, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        region_metrics.pointing_score(
            ({},), np.ones((1, 1)), ("cat",), np.zeros((1, 2, 2)), np.zeros((1, 1, 1))
        )


@pytest.mark.parametrize("count", [2, 3, 17, 400])
def test_a_derangement_leaves_none_in_its_place_and_is_reproducible(count):
    others = region_metrics.derangement(count)
    assert sorted(others) == list(range(count))
    assert (others != np.arange(count)).all()
    np.testing.assert_array_equal(region_metrics.derangement(count), others)


def test_one_image_cannot_be_shuffled():
    with pytest.raises(ValueError, match="Received: 1"):
        region_metrics.derangement(1)
    truth = ({"cat": np.array([[0, 0, 1, 1]])},), column(1), ("cat",)
    score = region_metrics.shuffled_pointing_score(
        *truth, np.full((1, 1, 2), 0.5), np.zeros((1, 1, 1))
    )
    assert np.isnan(score)


def scattered(images, edge, seed=0):
    """Centres of objects, and the boxes around them."""
    middles = np.random.default_rng(seed).random((images, 2))
    boxes = np.concatenate([middles - edge / 2, middles + edge / 2], 1)
    return middles, tuple({"cat": box[None]} for box in boxes)


def both_scores(boxes, centres, region_scores):
    arguments = boxes, np.ones((len(boxes), 1)), ("cat",), centres, region_scores
    score, _ = region_metrics.pointing_score(*arguments)
    return score, region_metrics.shuffled_pointing_score(*arguments)


def test_fixed_regions_score_the_same_when_shuffled():
    _, boxes = scattered(200, 0.3)
    places = np.random.default_rng(1).random((1, 9, 2))
    centres = np.repeat(places, 200, 0)
    score, shuffled = both_scores(
        boxes, centres, np.random.default_rng(2).random((200, 9, 1))
    )
    assert 0 < score < 1
    assert shuffled == score
    assert region_metrics.region_spread(centres) == 0


def test_regions_that_follow_their_object_score_zero_when_shuffled():
    # On a grid of 10 x 10 no two objects touch.
    middles = (np.stack(np.divmod(np.arange(100), 10), -1) + 0.5) / 10
    boxes = np.concatenate([middles - 0.04, middles + 0.04], 1)
    boxes = tuple({"cat": box[None]} for box in boxes)
    # The second of two regions has the higher score, and it follows the object.
    centres = np.stack([np.full_like(middles, 0.01), middles], 1)
    score, shuffled = both_scores(boxes, centres, np.tile([[0.0], [1.0]], (100, 1, 1)))
    assert (score, shuffled) == (1, 0)


def test_shuffling_keeps_the_best_region_of_each_image():
    # Region 1 lies on all objects and region 2 on none. Where region 2 is the best of
    # an image, region 1 of another image does not make it a hit.
    boxes = ({"cat": np.array([[0.4, 0.4, 0.6, 0.6]])},) * 40
    centres = np.tile([[[0.5, 0.5], [0.9, 0.9]]], (40, 1, 1))
    region_scores = np.zeros((40, 2, 1))
    region_scores[:10, 0], region_scores[10:, 1] = 1, 1
    assert both_scores(boxes, centres, region_scores) == (0.25, 0.25)


def test_random_movement_gains_nothing_over_shuffling():
    images = 4000
    _, boxes = scattered(images, 0.5)
    moves = np.random.default_rng(3).normal(0, 0.15, (images, 1, 2))
    score, shuffled = both_scores(boxes, 0.5 + moves, np.zeros((images, 1, 1)))
    # Both are shares of as many draws: four standard deviations of their difference.
    deviation = np.sqrt(2 * score * (1 - score) / images)
    assert 0.2 < score < 0.8
    assert abs(score - shuffled) < 4 * deviation
    assert region_metrics.region_spread(0.5 + moves) == pytest.approx(0.15, rel=0.05)


def test_spread_by_hand():
    # In y the first region moves by 0.2 about its mean, the second stays.
    centres = np.array([[[0.1, 0.7], [0.4, 0.4]], [[0.5, 0.7], [0.4, 0.4]]])
    root = np.sqrt((0.2**2 + 0) / 2)
    np.testing.assert_allclose(region_metrics.spreads(centres), [root, 0])
    assert region_metrics.region_spread(centres) == pytest.approx(root / 2)


def test_spread_over_all_regions_equals_that_over_locations():
    locations = np.random.default_rng(0).random((30, 5, 2))
    of_all = region_metrics.region_spread(np.repeat(locations, 9, 1))
    assert of_all == pytest.approx(region_metrics.region_spread(locations))


def test_spread_without_images_is_nan():
    assert np.isnan(region_metrics.region_spread(np.zeros((0, 2, 2))))
