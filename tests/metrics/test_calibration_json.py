"""Tests that a calibration is written to JSON and read back, or refused."""

import json
import math

import pytest

from ram_tf.metrics.calibration import Calibration

NAMES = ("cat", "dog", "no,body")
FITTED = Calibration(1.7, (0.25, 0.5, 1.0), 0.9, (1, 2), 0.21, 0.03)


@pytest.mark.parametrize("written", [FITTED, Calibration(1, (0, 1.0, 0.5))])
def test_a_calibration_survives_json(written):
    text = written.to_json(NAMES)
    assert Calibration.from_json(text, NAMES) == written
    assert Calibration.from_json(text.encode(), list(NAMES)) == written
    assert type(Calibration.from_json(text, NAMES).thresholds) is tuple


def test_json_has_labels_by_name():
    content = json.loads(FITTED.to_json(NAMES))
    assert content["thresholds"] == {"cat": 0.25, "dog": 0.5, "no,body": 1.0}
    assert content["unfitted"] == ["dog", "no,body"]


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "dog", "cat")])
def test_json_needs_a_unique_name_for_each_threshold(names):
    with pytest.raises(ValueError, match="Expected 3 different label names"):
        FITTED.to_json(names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected JSON. Received: ''"),
        (b"\x80\x04K\x01.", "Expected JSON"),
        ("[" * 100_000, "Expected JSON"),
        ("null", "Expected the fields temperature, .*Received: None"),
        ("{}", "Expected the fields temperature"),
    ],
)
def test_text_that_is_no_calibration_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Calibration.from_json(text, NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "temperature from 0.01 to 100.0. Received: 0"),
        ({"temperature": -1.0}, "Received: -1.0"),
        ({"temperature": math.nan}, "Received: nan"),
        ({"temperature": math.inf}, "Received: inf"),
        ({"temperature": 10**400}, "Expected a temperature"),
        ({"temperature": "1"}, "Received: '1'"),
        ({"temperature": True}, "Received: True"),
        ({"temperature": None}, "Received: None"),
        ({"thresholds": [0.5] * 3}, "thresholds by label name"),
        ({"thresholds": {"cat": 0.5, "dog": 0.5}}, "here 'no,body'. Received: None"),
        (
            {"thresholds": dict.fromkeys((*NAMES, "cow"), 0.5)},
            "here None. Received: 'cow'",
        ),
        (
            {"thresholds": dict.fromkeys(("dog", "cat", "no,body"), 0.5)},
            "here 'cat'. Received: 'dog'",
        ),
        ({"thresholds": {**dict.fromkeys(NAMES, 0.5), "dog": 1.5}}, "Received: 1.5"),
        ({"thresholds": {**dict.fromkeys(NAMES, 0.5), "dog": -1}}, "Received: -1"),
        ({"thresholds": {**dict.fromkeys(NAMES, 0.5), "dog": math.nan}}, "nan"),
        ({"thresholds": {**dict.fromkeys(NAMES, 0.5), "dog": "x"}}, "Received: 'x'"),
        ({"precision_floor": 2}, "precision_floor from 0 to 1, or none. Received: 2"),
        ({"error_before": "0"}, "error_before from 0 to 1"),
        ({"error_after": math.nan}, "error_after from 0 to 1"),
        ({"unfitted": ["cow"]}, "unfitted labels of the model. Received: .'cow'"),
        ({"unfitted": {"cat": 1}}, "a list of unfitted"),
        ({"unfitted": None}, "a list of unfitted"),
        ({"unfitted": [["cat"]]}, "a list of unfitted"),
        ({"more": 1}, "Expected the fields"),
    ],
)
def test_an_invalid_calibration_is_refused(change, message):
    text = json.dumps({**json.loads(FITTED.to_json(NAMES)), **change})
    with pytest.raises(ValueError, match=message):
        Calibration.from_json(text, NAMES)


def test_error_messages_are_one_short_line_of_printable_text():
    hostile = "\x1b[2J\n" * 100_000
    for text in (hostile, json.dumps({hostile: hostile}), json.dumps([hostile])):
        with pytest.raises(ValueError, match="is invalid") as refusal:
            Calibration.from_json(text, NAMES)
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 400
