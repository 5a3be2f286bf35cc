import json

import numpy as np
import pytest

from ram_tf import evaluation
from ram_tf.config import Config
from ram_tf.split import Split

SETTINGS = Config(image_size=512, crop_margin=64, loss="bce")


def split_of(labels, boxes=None):
    count = len(labels)
    names = tuple(f"{i}.png" for i in range(count))
    return Split((b"",) * count, names, np.array(labels, np.int8), ("a", "b"), boxes)


def outputs_of(probabilities, translations):
    """Two regions an image of scale 0.25; the second one speaks for every label."""
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


def test_figures_of_a_hand_made_split():
    split = split_of([[1, 0], [0, 1], [1, 0]])
    outputs = outputs_of([[0.9, 0.1], [0.8, 0.7], [0.6, 0.2]], [0, 0])
    result = evaluation.evaluate(outputs, split, SETTINGS)
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
        result = evaluation.evaluate(
            outputs, split_of([[1, 0]], ({"a": box},)), SETTINGS
        )
        assert result["pointing"] == expected
        assert result["pointing_pairs"] == 1
        assert result["pointing_centre"] == 0.0


def test_a_result_is_json_without_nan():
    split = split_of([[1, 0], [0, 0]])
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.3]], [0, 0])
    result = evaluation.evaluate(outputs, split, SETTINGS, pooled=outputs)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text)["AP"] == {"a": 1.0, "b": None}
    assert result["pooled"]["mAP"] == result["mAP"]


def test_the_table_shows_both_models_side_by_side():
    split = split_of([[1, 0], [0, 1]] * 10)
    good = outputs_of([[0.9, 0.1], [0.2, 0.7]] * 10, [0, 0])
    bad = outputs_of([[0.1, 0.9], [0.7, 0.2]] * 10, [0, 0])
    result = evaluation.evaluate(good, split, SETTINGS, pooled=bad)
    lines = evaluation.table(result).splitlines()
    (row,) = (line.split() for line in lines if line.startswith("mAP "))
    assert row[1] == "100.0"
    assert float(row[2]) < 50
    (above,) = (line for line in lines if line.startswith("attention - pooled"))
    assert "95 % interval" in above


def test_a_result_file_is_written_whole(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        evaluation.write({"mAP": object()}, path)
    assert path.read_text() == "old"
    evaluation.write({"mAP": 0.5}, path)
    assert json.loads(path.read_text()) == {"mAP": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
