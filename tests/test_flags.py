"""The flags of the settings: what they come to, and which are refused."""

import argparse

import pytest
from settings import FIELDS, other_value

from ram_tf import flags
from ram_tf.config import Config
from ram_tf.presets import OF_RARL, PRESET_OF, PRESETS, preset


def parse(*arguments):
    parser = argparse.ArgumentParser()
    flags.add_arguments(parser)
    return flags.from_arguments(parser.parse_args(arguments))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_has_a_help_text(field):
    assert len(field.metadata["explanation"].split()) >= 2


def test_help_can_be_printed(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert all(f"--{field.name}" in shown for field in FIELDS)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_has_a_flag(field):
    begin = ["--dataset", "csv"]
    if field.name == "pooled_units":
        # A hidden layer has no place beside a probe.
        begin += ["--probe_cost", "0"]
    without = getattr(parse(*begin), field.name)
    values = other_value(field), field.default, 600
    value = next(value for value in values if value != without)
    if field.type is bool:
        given = [f"--{field.name}" if value else f"--no-{field.name}"]
    else:
        given = [f"--{field.name}", str(value)]
    assert getattr(parse(*begin, *given), field.name) == value


def test_a_floor_of_precision_is_refused_where_no_threshold_keeps_to_it():
    floor = "--precision_floor", "0.9"
    assert parse("--dataset", "csv", *floor).precision_floor == 0.9
    with pytest.raises(ValueError, match=r"Expected --calibrate with it"):
        parse("--dataset", "coco", *floor)


def test_an_evaluation_cannot_divide_a_csv_anew():
    parser = argparse.ArgumentParser()
    flags.add_data_arguments(parser)
    assert vars(parser.parse_args(["--max_pixels", "9"])) == {"max_pixels": 9}
    with pytest.raises(SystemExit):
        parser.parse_args(["--split_fraction", "0.5,0.2,0.3"])


def test_without_flags_the_digits_preset_holds():
    assert parse() == Config(dataset="digits", **PRESETS["digits"])


def test_a_preset_may_depend_on_the_model():
    assert set(OF_RARL) <= set(PRESETS)
    changes = OF_RARL["digits"]
    settings = parse("--model", "rarl")
    expected = {"model": "rarl", **PRESETS["digits"], **changes}
    assert settings == Config(dataset="digits", **expected)
    assert preset("digits") == PRESETS["digits"]
    name, value = next(iter(changes.items()))
    assert getattr(parse("--model", "rarl", f"--{name}", "3"), name) == 3 != value


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_flag_is_refused_where_its_setting_has_no_part_in_the_model(field):
    given = argparse.Namespace(**{field.name: other_value(field)})
    for model in {"rdar", "rarl"} - {other_value(field)}:
        given.model = model
        if field.metadata["only"] in (None, model):
            flags.check_own(given)
        else:
            with pytest.raises(ValueError, match=f"--{field.name} has no part"):
                flags.check_own(given)


def test_flags_go_before_the_preset_of_their_data_set():
    settings = parse("--dataset", "voc2012", "--image_size", "100")
    expected = {**PRESETS[PRESET_OF["voc2012"]], "image_size": 100}
    assert settings == Config(dataset="voc2012", **expected)


def test_another_preset_can_be_chosen():
    settings = parse("--dataset", "csv", "--preset", "paper", "--epochs", "7")
    expected = {**PRESETS["paper"], "epochs": 7}
    assert settings == Config(dataset="csv", **expected)
