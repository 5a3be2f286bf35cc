"""Tests `Config` and the values that it derives from settings."""

import dataclasses

import pytest

from ram_tf.data import datasets
from ram_tf.models.objectives import Objective, ReinforceObjective
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESET_OF, PRESETS


def test_every_dataset_has_a_preset():
    assert set(PRESET_OF) == set(datasets.NAMES)
    assert set(PRESET_OF.values()) <= set(PRESETS)


def test_the_crop_is_the_image_size_minus_the_margin():
    assert Config.of(image_size=65, crop_margin=64).image.crop == 1
    assert Config().image.crop == 512 - 64  # section 5.1


def test_difficult_objects_are_unknown_by_default():
    # As in VOC's own evaluation, which leaves them out.
    assert Config().data.difficult == "unknown"


def test_zooms_are_factors_of_at_least_one():
    assert Config.of(zooms="1,1,1.5").image.zoom_factors == (1, 1, 1.5)
    for wrong in ("0.5", "1,,2", "large", "nan", "9"):
        with pytest.raises(ValueError, match="zooms"):
            Config.of(zooms=wrong)


def test_split_fractions_are_three_numbers():
    assert Config.of(split_fraction="0.5,0.3,0.2").data.fractions == (0.5, 0.3, 0.2)
    for wrong in ("0.5,0.5", "a,b,c", ""):
        with pytest.raises(ValueError, match=f"three numbers.*Received: '{wrong}'"):
            _ = Config.of(split_fraction=wrong).data.fractions


def test_the_objective_has_the_values_of_the_settings():
    settings = Config.of(loss="asl", gamma=0.7, alpha=0.6, constraints="S")
    objective = settings.objective
    assert dataclasses.asdict(objective).items() <= settings.flat().items()
    assert (objective.loss, objective.gamma) == ("asl", 0.7)


def test_the_objective_of_rarl_has_the_values_of_the_settings():
    settings = Config.of(
        model="rarl", loss="bce", lambda_reinforce=0.7, lambda_baseline=0.2
    )
    assert settings.objective == ReinforceObjective("bce", 0.7, 0.2)


def test_given_regions_are_not_constrained():
    settings = Config.of(region_source="proposals", gamma=0.7)
    assert settings.objective == Objective(gamma=0.7, constraints="")
    assert settings.given_regions
    assert not Config().given_regions


def test_settings_are_accessed_by_flag_name():
    settings = Config.of(model="rarl", loss="bce", epochs=3, name="mine")
    assert (settings.model.kind, settings.loss.classification) == ("rarl", "bce")
    assert (settings["model"], settings["epochs"], settings["name"]) == (
        "rarl",
        3,
        "mine",
    )
    assert Config.of(**settings.flat()) == settings
    assert settings.replace(epochs=4).replace(epochs=3) == settings
    with pytest.raises(TypeError, match=r"Unknown setting.*epoch=3"):
        Config.of(epoch=3)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.epochs = 3
