"""Tests the metrics of outputs, their text tables and their files."""

import dataclasses
import json

import numpy as np
import pytest

from ram_tf.data.split import Split
from ram_tf.evaluation import results
from ram_tf.metrics import protocols
from ram_tf.runs.config import Config

SETTINGS = Config.of(image_size=512, crop_margin=64, loss="bce")


def split_of(labels, boxes=None):
    count = len(labels)
    names = tuple(f"{i}.png" for i in range(count))
    return Split((b"",) * count, names, np.array(labels, np.int8), ("a", "b"), boxes)


def outputs_of(probabilities, translations):
    """Two regions an image of scale 0.25; the second scores highest for every label."""
    probabilities = np.array(probabilities)
    count = len(probabilities)
    regions = np.zeros((count, 2, 2, 3))
    regions[:, :, 0, 0] = regions[:, :, 1, 1] = 0.25
    regions[:, 1, :, 2] = translations
    region_scores = np.stack([probabilities - 1, probabilities], 1)
    boxes = np.tile([0.0, 0.0, 0.5, 0.5], (count, 2, 1))
    return {
        "scores": probabilities,
        "probabilities": probabilities,
        "regions": regions,
        "boxes": boxes,
        "region_scores": region_scores,
    }


def test_metrics_of_a_hand_made_split():
    split = split_of([[1, 0], [0, 1], [1, 0]])
    outputs = outputs_of([[0.9, 0.1], [0.8, 0.7], [0.6, 0.2]], [0, 0])
    result = results.evaluate(outputs, split, SETTINGS)
    # Ranking of a: present, absent, present.
    assert result["AP"] == pytest.approx({"a": (1 + 2 / 3) / 2, "b": 1.0})
    assert result["mAP"] == pytest.approx((5 / 6 + 1) / 2)
    # Predicted: a three times, twice rightly; b once, rightly.
    assert result["OP"] == pytest.approx(3 / 4)
    assert result["OR"] == pytest.approx(1.0)
    assert result["CP"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["region_iou"] == pytest.approx(1.0)
    assert result["images"] == 3
    assert result["mAP_min10"] is None
    assert result["pooled"] is None
    assert "pointing" not in result


def test_pointing_maps_centres_from_the_crop_to_the_image():
    # t = (0.8, 0.4) is (0.9, 0.7) of the crop, which is 448 of 512 pixels wide.
    x, y = (0.9 - 0.5) * 448 / 512 + 0.5, (0.7 - 0.5) * 448 / 512 + 0.5
    outputs = outputs_of([[0.9, 0.1]], [0.8, 0.4])
    for half, expected in ((0.001, 1.0), (None, 0.0)):
        # Either a tiny box at that place, or one where the crop's own fraction is.
        cx, cy, r = (x, y, half) if half else (0.9, 0.7, 0.01)
        box = np.array([[cy - r, cx - r, cy + r, cx + r]], np.float32)
        result = results.evaluate(outputs, split_of([[1, 0]], ({"a": box},)), SETTINGS)
        assert result["pointing"] == expected
        assert result["pointing_pairs"] == 1
        assert result["pointing_centre"] == 0.0


BOXED = ({"a": np.array([[0.0, 0.5, 0.5, 1.0]])}, {"b": np.array([[0, 0, 1, 0.5]])})


def with_evidence(outputs):
    """Adds evidence that lies on a's box in the first image and on no other."""
    points = np.array([[[0.2, 0.8], [0.2, 0.8]], [[0.2, 0.8], [0.2, 0.8]]])
    return outputs | {"evidence": points}


def test_the_evidence_of_the_pooled_classifier_points_independently_of_the_regions():
    # The second region is in the lower right, where neither object is.
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.7]], [0.8, 0.8])
    split = split_of([[1, 0], [0, 1]], BOXED)
    pooled = with_evidence(outputs)
    result = results.evaluate(outputs, split, SETTINGS, pooled=pooled)
    assert (result["pointing"], result["pointing_evidence"]) == (0.0, 0.5)
    assert results.evaluate_pooled(pooled, split)["pointing_evidence"] == 0.5
    assert result["pointing_shuffled"] == result["pointing"]
    assert result["region_spread"] == 0


@pytest.mark.parametrize("case", ["no classifier", "not linear", "several models"])
def test_missing_evidence_is_null_in_the_result_and_a_dash_in_the_table(case):
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.7]], [0, 0])
    split = split_of([[1, 0], [0, 1]], BOXED)
    others = {"no classifier": {}, "not linear": {"pooled": outputs}}
    others = others.get(case, {"pooled": with_evidence(outputs)})
    about = {"views": 1, "views_from": "image", "scales": [512], "crops": [448]}
    about["models"] = 1 + (case == "several models")
    result = results.evaluate(outputs, split, SETTINGS, about=about, **others)
    assert result["pointing_evidence"] is None
    (row,) = (
        line.split()
        for line in results.table(result).splitlines()
        if line.startswith("pointing_evidence")
    )
    assert row[1] == "\N{EN DASH}"


def test_shuffled_pointing_of_a_single_image_is_null():
    outputs = outputs_of([[0.9, 0.1]], [0, 0])
    result = results.evaluate(outputs, split_of([[1, 0]], BOXED[:1]), SETTINGS)
    assert result["pointing_shuffled"] is None


def test_spread_includes_centres_outside_as_fractions_of_the_image():
    # In x from 0.5 to 1.25 of a crop of 448 of 512 pixels; without boxes as well.
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.7]], [0, 0])
    outputs["regions"][1, 1, 0, 2] = 1.5
    result = results.evaluate(outputs, split_of([[1, 0], [0, 1]]), SETTINGS)
    move = 0.375 * 448 / 512
    # Averaged with the first region, which stays.
    assert result["region_spread"] == pytest.approx(np.sqrt(move**2 / 2) / 2)
    assert "pointing_shuffled" not in result


def test_a_result_is_json_without_nan():
    split = split_of([[1, 0], [0, 0]])
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.3]], [0, 0])
    result = results.evaluate(outputs, split, SETTINGS, pooled=outputs)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text)["AP"] == {"a": 1.0, "b": None}
    assert result["pooled"]["mAP"] == result["mAP"]


def test_the_table_shows_both_models_side_by_side():
    split = split_of([[1, 0], [0, 1]] * 10)
    good = outputs_of([[0.9, 0.1], [0.2, 0.7]] * 10, [0, 0])
    bad = outputs_of([[0.1, 0.9], [0.7, 0.2]] * 10, [0, 0])
    result = results.evaluate(good, split, SETTINGS, pooled=bad)
    lines = results.table(result).splitlines()
    (row,) = (line.split() for line in lines if line.startswith("mAP "))
    assert row[1] == "100.0"
    assert float(row[2]) < 50
    (above,) = (line for line in lines if line.startswith("attention - pooled"))
    assert "95 % interval" in above


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (protocols.PROTOCOLS["rdar"], {"mAP", "mAP_min10", "OF1"}),
        (
            dataclasses.replace(protocols.PROTOCOLS["rdar"], name="", threshold=0.3),
            {"mAP", "mAP_min10", "OF1"},
        ),
        (protocols.PROTOCOLS["mlgcn"], {"mAP", "mAP_min10"}),
        (protocols.PROTOCOLS["srn"], {"mAP_min10"}),
        (protocols.PROTOCOLS["asl"], {"mAP_min10"}),
        (protocols.PROTOCOLS["voc07"], {"mAP_min10", "OF1"}),
    ],
    ids=["rdar", "other threshold", "mlgcn", "srn", "asl", "voc07"],
)
def test_intervals_are_of_metrics_that_bootstrap_and_protocol_share(protocol, expected):
    labels = np.random.default_rng(0).integers(0, 2, (40, 2))
    outputs = outputs_of(np.random.default_rng(1).random((40, 2)), [0, 0])
    result = results.evaluate(outputs, split_of(labels), SETTINGS, protocol)
    assert set(result["intervals"]) == expected
    for name, interval in result["intervals"].items():
        assert interval["low"] < result[name] < interval["high"]


def test_the_table_starts_with_split_protocol_and_views():
    outputs = outputs_of([[0.9, 0.1]], [0, 0])
    result = results.evaluate(outputs, split_of([[1, 0]]), SETTINGS)
    first, *_ = results.table(result).splitlines()
    size = SETTINGS.image.image_size
    assert "1 images; protocol rdar, AP interpolation none" in first
    assert f"1 view from image, N = {size}; difficult: unknown" in first


def test_nan_is_written_as_null(tmp_path):
    results.write({"mAP": float("nan"), "AP": {"a": 0.5}}, tmp_path / "result.json")
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text) == {"mAP": None, "AP": {"a": 0.5}}


def test_a_result_file_is_written_completely_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        results.write({"mAP": object()}, path)
    assert path.read_text() == "old"
    results.write({"mAP": 0.5}, path)
    assert json.loads(path.read_text()) == {"mAP": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
