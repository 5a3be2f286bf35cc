"""The settings: their way to json and back, and what is refused."""

import dataclasses
import json

import pytest
from settings import FIELDS, other_value

from ram_tf import config, datasets
from ram_tf.config import Config
from ram_tf.model import Objective, ReinforceObjective
from ram_tf.presets import PRESET_OF, PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_come_back_from_json(preset):
    settings = Config(**PRESETS[preset])
    names = ("dog", "Katze", "日本")
    assert config.from_json(settings.to_json(names)) == (settings, names)


@pytest.mark.parametrize("model", ["rdar", "rarl"])
def test_every_setting_comes_back_from_json(model):
    others = {field.name: other_value(field) for field in FIELDS}
    others |= {"model": model, "region_probe": model == "rdar"}
    # What search_epochs, region_probe and spatial_prior demand.
    others |= {"region_source": "attention"}
    others |= {"pooling": "average", "region_pooling": "average"}
    settings = Config(**others)
    assert config.from_json(settings.to_json(["cat"]))[0] == settings
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
        config.from_json(text)


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match="colour"):
        config.from_json('{"label_names": ["a"], "colour": 3}')


def test_every_data_set_has_a_preset():
    assert set(PRESET_OF) == set(datasets.NAMES)
    assert set(PRESET_OF.values()) <= set(PRESETS)


def test_a_crop_is_what_the_margin_leaves():
    assert Config(image_size=65, crop_margin=64).crop == 1
    assert Config().crop == 512 - 64  # section 5.1


def test_zooms_are_factors_of_at_least_one():
    assert Config(zooms="1,1,1.5").zoom_factors == (1, 1, 1.5)
    for wrong in ("0.5", "1,,2", "large", "nan", "9"):
        with pytest.raises(ValueError, match="zooms"):
            Config(zooms=wrong)


def test_fractions_are_three_numbers():
    assert Config(split_fraction="0.5,0.3,0.2").fractions == (0.5, 0.3, 0.2)
    for wrong in ("0.5,0.5", "a,b,c", ""):
        with pytest.raises(ValueError, match=f"three numbers.*Received: '{wrong}'"):
            _ = Config(split_fraction=wrong).fractions


def test_the_objective_has_the_settings_numbers():
    settings = Config(loss="asl", gamma=0.7, alpha=0.6, constraints="S")
    objective = settings.objective
    assert dataclasses.asdict(objective).items() <= dataclasses.asdict(settings).items()
    assert (objective.loss, objective.gamma) == ("asl", 0.7)


def test_the_objective_of_rarl_has_the_settings_numbers():
    settings = Config(
        model="rarl", loss="bce", lambda_reinforce=0.7, lambda_baseline=0.2
    )
    assert settings.objective == ReinforceObjective("bce", 0.7, 0.2)


def test_rarl_takes_no_proposals():
    with pytest.raises(ValueError, match=r"region_source.*with rarl"):
        Config(model="rarl", region_source="proposals")


def test_given_regions_are_not_constrained():
    settings = Config(region_source="proposals", gamma=0.7)
    assert settings.objective == Objective(gamma=0.7, constraints="")
    assert settings.given_regions
    assert not Config().given_regions


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().epochs = 3


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
        config.from_json(json.dumps(content))


@pytest.mark.parametrize("labels", [["a", "a"], [7], ["a\nb"], [""]])
def test_labels_are_names(labels):
    content = {**json.loads(Config().to_json(["cat"])), "label_names": labels}
    with pytest.raises(ValueError, match="cannot be used"):
        config.from_json(json.dumps(content))


@pytest.mark.parametrize("name", ["../other", "/tmp/x", "a/b", ".."])
def test_a_configuration_does_not_say_where_a_model_is_written(name):
    with pytest.raises(ValueError, match="without folders"):
        Config(name=name)


@pytest.mark.parametrize("text", [b"\xff\xfe\xff", b"[" * 100_000, b"9" * 5000])
def test_bytes_that_are_no_json_are_no_configuration(text):
    with pytest.raises(ValueError, match="no configuration"):
        config.from_json(text)
