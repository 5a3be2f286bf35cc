"""Tests bootstrap intervals against redrawing the images one by one."""

import numpy as np
import pytest

from ram_tf.metrics import bootstrap, multi_label


@pytest.fixture
def table():
    generator = np.random.default_rng(7)
    labels = (generator.random((60, 5)) < 0.3).astype("int8")
    return labels, generator.random((60, 5)) + 0.3 * labels


def test_paired_difference_equals_redrawing_the_images_one_by_one(table):
    labels, a = table
    b = a + np.random.default_rng(1).normal(size=a.shape, scale=0.3)
    labels[::7, 2] = -1
    b[:, 0] = b[:, 0].round(1)  # ties
    labels[1:, 3] = 0
    labels[0, 3] = 1  # a third of the draws lose it
    samples, images = 40, len(labels)
    result = bootstrap.paired_difference(labels, a, b, 1, samples, seed=5)
    generator = np.random.default_rng(5)
    draws = generator.multinomial(images, [1 / images] * images, samples)
    differences = []
    for draw in draws:
        rows = np.repeat(np.arange(images), draw)
        before, after = (
            multi_label.mean_average_precision(labels[rows], scores[rows])
            for scores in (a, b)
        )
        differences.append(after - before)
    low, high = np.percentile(differences, [2.5, 97.5])
    assert result["low"] == pytest.approx(low)
    assert result["high"] == pytest.approx(high)
    assert result["share_above_zero"] == np.mean(np.array(differences) > 0)


def test_several_trainings_are_averaged_in_each_draw(table):
    labels, a = table
    labels[::7, 2] = -1
    noise = np.random.default_rng(1).normal(size=(2, 3, *a.shape), scale=0.3)
    before, after = a + noise
    result = bootstrap.paired_difference(labels, before, after, 1, 30, seed=5)
    draws = np.random.default_rng(5).multinomial(60, [1 / 60] * 60, 30)
    differences = []
    for draw in [np.ones(60, int), *draws]:
        rows = np.repeat(np.arange(60), draw)
        gains = [
            multi_label.mean_average_precision(labels[rows], two[rows])
            - multi_label.mean_average_precision(labels[rows], one[rows])
            for one, two in zip(before, after, strict=True)
        ]
        differences.append(sum(gains) / 3)
    whole, *redrawn = differences
    assert result["difference"] == pytest.approx(whole)
    low, high = np.percentile(redrawn, [2.5, 97.5])
    assert (result["low"], result["high"]) == pytest.approx((low, high))


def test_paired_difference_leaves_out_labels_with_too_few_positives(table):
    labels, a = table
    labels[:, 4] = 0
    labels[:3, 4] = 1
    b = np.where([False] * 4 + [True], -a, a + 0.2 * labels)
    result = bootstrap.paired_difference(labels, a, b, min_positives=10, samples=50)
    expected = [
        multi_label.average_precision(labels[:, :4], scores[:, :4]).mean()
        for scores in (a, b)
    ]
    assert result["difference"] == pytest.approx(expected[1] - expected[0])
    assert result["low"] <= result["difference"] <= result["high"]


def test_paired_difference_of_equal_rankings_is_zero(table):
    labels, scores = table
    result = bootstrap.paired_difference(labels, scores, 2 * scores - 1, samples=20)
    expected = {"difference": 0, "low": 0, "high": 0, "share_above_zero": 0}
    assert result == expected


def test_paired_difference_changes_sign_with_swapped_arguments(table):
    labels, a = table
    b = a + 0.1 * labels
    forth = bootstrap.paired_difference(labels, a, b, samples=200)
    back = bootstrap.paired_difference(labels, b, a, samples=200)
    assert forth["difference"] == pytest.approx(-back["difference"])
    assert forth["low"] == pytest.approx(-back["high"])
    assert forth["low"] > 0


def test_paired_difference_without_enough_positives_is_nan(table):
    labels, scores = table
    result = bootstrap.paired_difference(labels, scores, scores, min_positives=61)
    assert all(np.isnan(value) for value in result.values())


@pytest.mark.parametrize("top_k", [None, 2])
def test_intervals_equal_those_of_redrawing_the_images_one_by_one(table, top_k):
    labels, scores = table
    labels[::7, 2] = -1
    scores[:, 0] = scores[:, 0].round(1)  # ties
    labels[1:, 3] = 0
    labels[0, 3] = 1  # a third of the draws lose it
    labels[:, 4] = 0
    labels[:9, 4] = 1  # too few for mAP_min10, even if a draw repeats them
    thresholds = (0.4, 0.5, 0.6, 0.7, 0.5)
    samples, images = 40, len(labels)
    result = bootstrap.intervals(labels, scores, thresholds, top_k, samples, 5)
    generator = np.random.default_rng(5)
    draws = generator.multinomial(images, [1 / images] * images, samples)
    metrics = {"mAP": [], "mAP_min10": [], "OF1": []}
    for draw in draws:
        rows = np.repeat(np.arange(images), draw)
        pair = labels[rows], scores[rows]
        frequent = labels[rows, :3], scores[rows, :3]
        metrics["mAP"].append(multi_label.mean_average_precision(*pair))
        metrics["mAP_min10"].append(multi_label.mean_average_precision(*frequent))
        overall = multi_label.precision_recall_f1(*pair, thresholds, top_k)
        metrics["OF1"].append(overall["OF1"])
    assert result.keys() == metrics.keys()
    for name, drawn in metrics.items():
        low, high = np.percentile(drawn, [2.5, 97.5])
        assert result[name] == pytest.approx({"low": low, "high": high})


def test_intervals_do_not_depend_on_how_many_draws_are_made_at_a_time(
    table, monkeypatch
):
    whole = bootstrap.intervals(*table, samples=50)
    monkeypatch.setattr(bootstrap, "_MAX_COUNTS", 7 * len(table[0]))
    assert bootstrap.intervals(*table, samples=50) == whole


def test_intervals_follow_the_seed(table):
    first, again, other = (
        bootstrap.intervals(*table, samples=20, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_intervals_of_sixteen_times_the_images_are_a_quarter_as_wide(table):
    small = bootstrap.intervals(*table)
    large = bootstrap.intervals(*(np.tile(part, (16, 1)) for part in table))
    for name in small:
        widths = [r[name]["high"] - r[name]["low"] for r in (small, large)]
        assert widths[1] == pytest.approx(widths[0] / 4, rel=0.2)


def test_intervals_of_perfect_predictions_have_no_width(table):
    labels, _ = table
    result = bootstrap.intervals(labels, labels, samples=20)
    assert all(value == {"low": 1, "high": 1} for value in result.values())


def test_draws_without_positives_are_left_out_of_intervals():
    # A quarter of the draws takes the second image twice: a false positive.
    labels, scores = np.array([[1], [0]]), np.array([[0.9], [0.8]])
    result = bootstrap.intervals(labels, scores, samples=200)
    assert result["mAP"] == {"low": 1, "high": 1}
    # One wrong of two gives 2/3, none of two 1.
    assert result["OF1"] == pytest.approx({"low": 2 / 3, "high": 1})
    assert all(np.isnan(value) for value in result["mAP_min10"].values())


@pytest.mark.parametrize(
    "labels", [np.zeros((3, 2)), -np.ones((3, 2)), np.ones((0, 2))]
)
def test_intervals_without_any_positive_are_nan(labels):
    result = bootstrap.intervals(labels, np.full(labels.shape, 0.9))
    for interval in result.values():
        assert np.isnan([interval["low"], interval["high"]]).all()


def test_zero_draws_are_refused(table):
    with pytest.raises(ValueError, match="Received: samples=0"):
        bootstrap.intervals(*table, samples=0)
