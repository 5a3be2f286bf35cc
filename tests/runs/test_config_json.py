"""Tests that settings are written to JSON and read back, or refused."""

import json

import pytest

from ram_tf.runs.config import FORMAT, RETIRED, Config
from ram_tf.runs.config_json import GROUPS, SERVED, from_exported_json, from_json
from ram_tf.runs.presets import PRESETS
from tests.support.setting_values import FIELDS, other_value


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json(preset):
    settings = Config.of(**PRESETS[preset])
    names = ("dog", "Katze", "日本")
    assert from_json(settings.to_json(names)) == (settings, names)


# Settings that must be fixed where all others are changed, for each model.
REQUIRED = [
    {"model": "rdar", "localization": "linear"},
    {"model": "rarl", "localization": "linear", "region_source": "attention"},
]


@pytest.mark.parametrize("required", REQUIRED, ids=["rdar", "rarl"])
def test_every_setting_survives_json(required):
    others = {name: other_value(name) for name in FIELDS} | required
    settings = Config.of(**others)
    assert from_json(settings.to_json(["cat"]))[0] == settings
    written = json.loads(settings.to_json(["cat"]))
    assert set(written) == {"format", "label_names", "name", *GROUPS}
    assert sum(len(written[group]) for group in GROUPS) == len(FIELDS) - 1


def test_settings_without_groups_are_read():
    settings = Config.of(dataset="csv", model="rarl", loss="bce", seed=3)
    flat = {"format": 2, "label_names": ["cat"], **settings.flat()}
    assert from_json(json.dumps(flat)) == (settings, ("cat",))


def test_localization_by_content_survives_json():
    settings = Config.of(**PRESETS["photographs"])
    assert settings.attention.localization == "content"
    assert from_json(settings.to_json(["cat"]))[0] == settings


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no json"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param("{}", id="no labels"),
        pytest.param(
            '{"format": 2, "label_names": ["a"], "colour": 3}', id="unknown key"
        ),
        pytest.param('{"format": 2, "label_names": 3}', id="labels are no list"),
        pytest.param(
            '{"format": 2, "label_names": ["a"], "epochs": "many"}', id="no number"
        ),
    ],
)
def test_text_that_is_no_configuration_is_refused(text):
    with pytest.raises(ValueError, match="no configuration that fit"):
        from_json(text)


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match="colour"):
        from_json('{"format": 2, "label_names": ["a"], "colour": 3}')


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
def test_a_setting_of_the_wrong_type_is_named(name, value):
    with pytest.raises(ValueError, match=f"no configuration.*{name}"):
        from_json(as_json(**{name: value}))


@pytest.mark.parametrize("labels", [["a", "a"], [7], ["a\nb"], [""]])
def test_invalid_label_names_are_refused(labels):
    content = {**json.loads(Config().to_json(["cat"])), "label_names": labels}
    with pytest.raises(ValueError, match="cannot be used"):
        from_json(json.dumps(content))


@pytest.mark.parametrize("text", [b"\xff\xfe\xff", b"[" * 100_000, b"9" * 5000])
@pytest.mark.parametrize("read", [from_json, from_exported_json])
def test_bytes_that_are_no_json_are_refused(text, read):
    with pytest.raises(ValueError, match="no configuration"):
        read(text)


def as_json(**changes):
    """The default settings as JSON with changes; a format of None is left out."""
    content = json.loads(Config().to_json(["cat"]))
    for name, value in changes.items():
        group, field = FIELDS.get(name, ("", None))
        values = content[group] if group else content
        values[field.name if group else name] = value
    if content["format"] is None:
        del content["format"]
    return json.dumps(content)


def test_a_run_without_a_format_is_refused_with_advice():
    text = as_json(format=None, region_probe=False, search_epochs=0)
    with pytest.raises(ValueError, match=r"before 0\.2") as refused:
        from_json(text, "runs/mine/config.json")
    message = str(refused.value)
    assert "train again" in message
    assert message.endswith("Received: runs/mine/config.json without a format")


@pytest.mark.parametrize("number", [FORMAT + 1, 10**400])
def test_a_run_of_a_newer_version_is_refused(number):
    with pytest.raises(ValueError, match=r"newer version.*Received: .* of format"):
        from_json(as_json(format=number, of_the_future=1))


@pytest.mark.parametrize("number", [0, 1, -2, True, 2.0, "2", [2]])
def test_an_invalid_format_is_refused(number):
    with pytest.raises(ValueError, match=r"no configuration.*'format'"):
        from_json(as_json(format=number))


@pytest.mark.parametrize("name", RETIRED)
def test_a_removed_setting_is_refused_with_the_reason(name):
    with pytest.raises(
        ValueError, match=f"no configuration.*{name}, which was removed in"
    ):
        from_json(as_json(**{name: 1}))


@pytest.mark.parametrize("number", [None, FORMAT, FORMAT + 1, "x"])
def test_only_settings_for_serving_are_read_of_an_exported_model(number):
    changed = {name: other_value(name) for name in FIELDS}
    changed |= {"name": "mine", "image_size": 100, "region_source": "attention"}
    settings, names = from_exported_json(
        as_json(**{**changed, "format": number}, search_epochs=3, of_the_future=[{}])
    )
    assert names == ("cat",)
    expected = {name: changed[name] for name in SERVED}
    assert settings == Config.of(**expected)
    assert all(value != Config()[name] for name, value in expected.items())


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("value", [[], {}, float("nan"), 10**400, 1.5])
def test_settings_for_serving_of_the_wrong_type_are_refused(name, value):
    with pytest.raises(ValueError, match=f"no configuration.*{name}"):
        from_exported_json(as_json(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"), [("loss", "x"), ("max_pixels", 0), ("name", "../x")]
)
def test_settings_for_serving_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}.*Expected"):
        from_exported_json(as_json(**{name: value}))


@pytest.mark.parametrize("labels", [["a", "a"], [7], ["a\nb"], [""], 3])
def test_invalid_label_names_of_an_exported_model_are_refused(labels):
    with pytest.raises(ValueError, match=r"cannot be used|no configuration"):
        from_exported_json(as_json(label_names=labels))


@pytest.mark.parametrize("read", [from_json, from_exported_json])
def test_settings_without_a_division_are_of_a_version_that_divided_at_random(read):
    content = json.loads(Config().to_json(["cat"]))
    assert read(json.dumps(content))[0].data.division == "stratified"
    del content["data"]["division"]
    assert read(json.dumps(content))[0].data.division == "random"
