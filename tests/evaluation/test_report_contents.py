"""Tests the numbers, matrices and pictures of the report."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ram_tf.data import drawing
from ram_tf.evaluation import results
from ram_tf.evaluation.report import report_images
from ram_tf.metrics import label_pairs, multi_label, protocols
from tests.support.report_pages import (
    SETTINGS,
    Page,
    boxed,
    evaluated,
    make_outputs,
    page_of,
    percent,
)


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_metrics_are_those_of_evaluate(name):
    split, outputs = make_outputs(60)
    split.labels[3:6, 1] = -1
    protocol = protocols.PROTOCOLS[name]
    _, result = evaluated(split, outputs, protocol)
    page = Page(page_of(split, outputs, protocol, pictures=1))
    rows = {key.split()[0]: row for key, row in page.table("metric").items()}
    metrics = [key for key in result if key.startswith(results.METRIC_PREFIXES)]
    assert len(rows) == len(metrics)
    for metric in metrics:
        row = rows[metric]
        assert row[0] == percent(result[metric])
        assert row[-1] == percent(result["pooled"][metric])
        if metric in result["intervals"]:
            low, high = (result["intervals"][metric][end] for end in ("low", "high"))
            assert row[1] == f"{percent(low)} to {percent(high)}"
        if metric in result["at_thresholds"]:
            assert row[3] == percent(result["at_thresholds"][metric])
    for label, row in page.table("label", "images", "attention").items():
        assert row[1].strip() == percent(result["AP"][label])
        assert row[2] == percent(result["pooled"]["AP"][label])


@pytest.mark.parametrize("name", ["rdar", "csra", "asl"])
def test_counts_of_predictions_give_overall_precision_and_recall(name):
    split, outputs = make_outputs(60)
    split.labels[3:6, 1] = -1
    protocol = protocols.PROTOCOLS[name]
    _, result = evaluated(split, outputs, protocol)
    page = Page(page_of(split, outputs, protocol, pictures=1))
    rows = page.table("label", "present,predicted (TP)").values()
    right, missed, wrong = (sum(int(row[i]) for row in rows) for i in range(3))
    assert right / (right + wrong) == pytest.approx(result["OP"])
    assert right / (right + missed) == pytest.approx(result["OR"])


def test_differences_are_points_with_their_sign():
    split, outputs = make_outputs(60)
    _, result = evaluated(split, outputs)
    (row,) = Page(page_of(split, outputs)).table("compared with").values()
    above = result["above_pooled"]["difference"]
    assert above > 0.01
    assert row[0] == f"+{100 * above:.1f}\N{NO-BREAK SPACE}points"


def test_the_matrices_are_those_of_label_pairs():
    split, outputs = make_outputs(60)
    split.labels[3:6, 1] = -1
    data, predicted, instead = (
        table
        for table in Page(page_of(split, outputs)).tables
        if len(table) == 4 and table[0][2:] == list(split.label_names)
    )
    named = multi_label.predictions(split.labels, outputs["probabilities"], 0.5, 3)
    for table, (shares, counts) in (
        (data, label_pairs.cooccurrence(split.labels)),
        (predicted, label_pairs.cooccurrence(np.where(split.labels < 0, -1, named))),
        (instead, label_pairs.predicted_instead(split.labels, named)),
    ):
        for i, row in enumerate(table[1:]):
            for j, cell in enumerate(row[2:]):
                shown = i != j and counts[i, j]
                assert cell == (f"{100 * shares[i, j]:.0f}" if shown else "")


def test_the_most_frequent_pairs_are_listed():
    # Cat and dog occur together twice, dog and bird once; where bird is predicted
    # wrongly, dog is missed twice and cat once.
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]], np.int8)
    split, outputs = make_outputs(4, labels=labels)
    outputs["probabilities"] = np.array(
        [[0.9, 0.1, 0.8], [0.1, 0.2, 0.9], [0.1, 0.9, 0.9], [0.9, 0.1, 0.2]]
    )
    page = Page(page_of(split, outputs))
    assert list(page.table("labels", "images with both").items()) == [
        ("cat and dog", ["2", percent(2 / 3), percent(2 / 3)]),
        ("dog and bird", ["1", percent(1 / 3), percent(1)]),
    ]
    assert list(page.table("missed", "wrongly predicted").items()) == [
        ("dog", ["bird", "2", percent(1)]),
        ("cat", ["bird", "1", percent(1)]),
    ]


def test_regions_around_one_location_have_one_map_and_are_counted_together():
    split, outputs = make_outputs(regions=18)
    # The first step always predicts the first label, the second step the others.
    outputs["region_scores"][:, 7, 0] = 2
    outputs["region_scores"][:, 12, 1:] = 2
    settings = SETTINGS.replace(model="rarl", steps=2)
    page = Page(page_of(split, outputs, settings=settings))
    drawn = [i for i, (tag, _) in enumerate(page.elements) if tag == "image"]
    frames = [tag == "rect" for tag, _ in page.elements[drawn[0] : drawn[1]]]
    assert len(drawn) == 2
    assert sum(frames) == 2 * 9
    shares = page.table("", "images", "1", "2")
    assert [row[1:] for row in shares.values()] == [["100", ""], *[["", "100"]] * 2]


def test_metrics_of_regions_are_those_of_evaluate():
    split, outputs = boxed()
    outputs["regions"][:, :, :, 2] = np.random.default_rng(0).random((24, 2, 2))
    _, result = evaluated(split, outputs)
    assert result["pointing_evidence"] is None
    page = Page(page_of(split, outputs))
    rows = {name.split()[0]: row for name, row in page.table("region metric").items()}
    assert rows == {name: [percent(result[name])] for name in results.REGION_METRICS}
    # It is the mean of the spreads at the maps.
    spreads = re.findall(r"centre moves by ([\d.]+)", "".join(page.text))
    assert np.mean([float(each) for each in spreads]) == pytest.approx(
        100 * result["region_spread"], abs=0.1
    )


def test_without_boxes_regions_have_spread_and_overlap_only():
    page = Page(page_of(*make_outputs()))
    names = [name.split()[0] for name in page.table("region metric")]
    assert names == ["region_spread", "region_iou"]


def test_pictures_are_small_and_at_most_as_many_as_requested():
    split, outputs = make_outputs(40)
    page = Page(page_of(split, outputs, pictures=2))
    pictures = [s for s in page.attributes("src") if s.startswith("data:image/jpeg")]
    assert len(pictures) == 3 * 3 * 2
    for picture in pictures:
        content = base64.b64decode(picture.partition(",")[2])
        assert max(Image.open(io.BytesIO(content)).size) <= report_images.PICTURE_SIZE
    with pytest.raises(ValueError, match="at least 1"):
        page_of(split, outputs, pictures=0)


def test_a_picture_shows_the_region_with_the_highest_score_of_its_label():
    # The second region, the lower half, has the highest score; region 1 is dashed.
    split, outputs = make_outputs(1, names=["cat"])
    outputs["boxes"][:] = [[0, 0, 0.4, 1], [0.5, 0, 1, 1]]
    outputs["region_scores"][:] = [[0], [1]]
    page = Page(page_of(split, outputs))
    (source,) = (s for s in page.attributes("src") if "jpeg" in s)
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    colour = np.array(drawing.colour(1))
    drawn = np.abs(np.array(picture, int)[:160] - colour).sum(-1) < 60
    rows = np.flatnonzero(drawn.sum(1) > 100)
    assert 80 <= rows.min() < 90
    assert rows.max() > 150
    assert page.attributes("alt") == [
        "photos/0.png: region 2 has the highest score of cat"
    ]
