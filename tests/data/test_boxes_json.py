"""Tests reading `boxes.json`."""

import json

import numpy as np
import pytest

from ram_tf.data.readers.boxes_json import read_boxes


def read(folder, content):
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return read_boxes(path, ("cat", "dog"))


def test_boxes_are_read_by_label_with_y_first(tmp_path):
    cat = {"label": "cat", "box": [0.1, 0.2, 0.3, 0.4]}
    found = read(tmp_path, {"a": [cat, cat], "b": []})
    np.testing.assert_allclose(found["a"]["cat"], [[0.2, 0.1, 0.4, 0.3]] * 2)
    assert found["b"] == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "no boxes by image"),
        ({"a": [[0, 0, 1, 1]]}, "cannot be read"),
        ({"a": [{"label": "cow", "box": [0, 0, 1, 1]}]}, "Unknown label"),
        ({"a": [{"label": "cat", "box": [0.5, 0, 0.4, 1]}]}, "xmin <= xmax"),
        ({"a": [{"label": "cat"}]}, "xmin <= xmax"),
    ],
)
def test_an_invalid_box_is_named(tmp_path, content, expected):
    with pytest.raises(ValueError, match=expected):
        read(tmp_path, content)
