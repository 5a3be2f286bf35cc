"""The settings' way to json and back, and what is no configuration."""

import json

import pytest
from settings import FIELDS, other_value

from ram_tf.config import Config
from ram_tf.config_json import from_json
from ram_tf.presets import PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_come_back_from_json(preset):
    settings = Config(**PRESETS[preset])
    names = ("dog", "Katze", "日本")
    assert from_json(settings.to_json(names)) == (settings, names)


@pytest.mark.parametrize("model", ["rdar", "rarl"])
def test_every_setting_comes_back_from_json(model):
    others = {field.name: other_value(field) for field in FIELDS}
    others |= {"model": model}
    if model == "rarl":
        others |= {"region_source": "attention"}  # which its agent demands
    settings = Config(**others)
    assert from_json(settings.to_json(["cat"]))[0] == settings
    assert set(json.loads(settings.to_json(["cat"]))) == {
        "label_names",
        *(field.name for field in FIELDS),
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no json"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param("{}", id="no labels"),
        pytest.param('{"label_names": ["a"], "colour": 3}', id="unknown key"),
        pytest.param('{"label_names": 3}', id="labels are no list"),
        pytest.param('{"label_names": ["a"], "epochs": "many"}', id="no number"),
    ],
)
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ValueError, match="no configuration that fit"):
        from_json(text)


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match="colour"):
        from_json('{"label_names": ["a"], "colour": 3}')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("regions", 1.5),
        ("flip", 1),
        ("seed", True),
        ("gamma", float("inf")),
        ("units", 10**400),
        ("data_dir", None),
        ("no such", 1),
    ],
)
def test_a_setting_of_another_type_is_named(name, value):
    content = {**json.loads(Config().to_json(["cat"])), name: value}
    with pytest.raises(ValueError, match=f"no configuration.*{name}"):
        from_json(json.dumps(content))


@pytest.mark.parametrize("labels", [["a", "a"], [7], ["a\nb"], [""]])
def test_labels_are_names(labels):
    content = {**json.loads(Config().to_json(["cat"])), "label_names": labels}
    with pytest.raises(ValueError, match="cannot be used"):
        from_json(json.dumps(content))


@pytest.mark.parametrize("text", [b"\xff\xfe\xff", b"[" * 100_000, b"9" * 5000])
def test_bytes_that_are_no_json_are_no_configuration(text):
    with pytest.raises(ValueError, match="no configuration"):
        from_json(text)
