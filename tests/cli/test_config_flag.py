"""Tests of `--config`: what its file holds, what flags override, what is refused."""

import argparse
import json
import re

import pytest

from ram_tf.cli import setting_flags
from ram_tf.runs.config import FORMAT, Config
from ram_tf.runs.config_json import LARGEST, from_json
from ram_tf.runs.presets import PRESETS

WHOLE = Config.of(dataset="csv", data_dir="/mine", **PRESETS["photographs"])


def parse(*arguments):
    parser = argparse.ArgumentParser()
    setting_flags.add_arguments(parser)
    return setting_flags.from_arguments(parser.parse_args(map(str, arguments)))


@pytest.fixture
def file(tmp_path):
    """A function that writes a file of settings and returns its path."""

    def write(content):
        path = tmp_path / "settings.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return path

    return write


def test_the_settings_of_a_run_are_those_of_its_file(file):
    assert parse("--config", file(WHOLE.to_json(["cat"]))) == WHOLE


def test_flags_override_the_file(file):
    path = file(WHOLE.to_json(["cat"]))
    assert parse("--epochs=7", "--config", path) == WHOLE.replace(epochs=7)
    assert parse("--config", path, "--no-calibrate").evaluation.calibrate is False


def test_label_names_are_optional(file):
    content = json.loads(WHOLE.to_json(["cat"]))
    del content["label_names"]
    assert parse("--config", file(content)) == WHOLE


def test_a_setting_that_an_older_run_lacks_has_its_default(file):
    content = json.loads(WHOLE.to_json(["cat"]))
    del content["training"]["ema"]
    assert WHOLE.training.ema
    assert parse("--config", file(content)).training.ema == Config().training.ema


def test_an_older_file_has_the_settings_that_its_run_is_opened_with(file):
    content = json.loads(WHOLE.to_json(["cat"]))
    for name in ("division", "truncated", "negatives"):
        del content["data"][name]
    path = file(content)
    assert parse("--config", path) == from_json(path.read_text())[0]
    assert parse("--config", path) != WHOLE


@pytest.mark.parametrize(
    "content",
    [
        {"dataset": "csv", "epochs": 3, "loss": "asl"},
        {
            "data": {"dataset": "csv"},
            "training": {"epochs": 3},
            "loss": {"classification": "asl"},
        },
    ],
    ids=["flat", "groups"],
)
def test_some_settings_go_over_the_preset_of_the_dataset(file, content):
    path = file(content)
    expected = parse("--dataset=csv", "--epochs=3", "--loss=asl")
    assert parse("--config", path) == expected
    other = parse("--config", path, "--preset=paper")
    assert other == parse("--dataset=csv", "--epochs=3", "--loss=asl", "--preset=paper")


def test_the_folder_of_another_dataset_is_not_taken(file):
    settings = parse("--config", file(WHOLE.to_json(["cat"])), "--dataset=coco")
    assert (settings.data.dataset, settings.data.data_dir) == ("coco", "")


def test_a_preset_beside_all_settings_is_refused(file):
    with pytest.raises(ValueError, match="--preset has no effect"):
        parse("--config", file(WHOLE.to_json(["cat"])), "--preset=paper")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"epochz": 3}, "'epochz': 3"),
        ({"epochs": "many"}, "'epochs': 'many'"),
        ({"training": {"epochs": True}}, "'epochs': True"),
        ({"dataset": "cifar"}, "Unknown dataset. Expected one of: digits"),
        ({"spatial_prior": True}, "was removed in version 0.2"),
        ("{", "This is no file of settings: "),
        ([1], "This is no file of settings: "),
        ("[" * 100_000, "This is no file of settings: "),
        ({"format": FORMAT + 1}, "newer version"),
        (" " * (LARGEST + 1), f"more than {LARGEST} bytes"),
        ("\ud83c".encode("utf-8", "surrogatepass").decode("latin-1"), "Received: "),
    ],
)
def test_a_file_of_anything_else_is_refused(file, content, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        parse("--config", file(content))


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no such file of settings"):
        parse("--config", tmp_path / name)
