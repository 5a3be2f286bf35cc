"""Tests of the settings' flags: the `Config` of parsed ones, and refused ones."""

import argparse
import re

import pytest

from ram_tf.cli import setting_flags
from ram_tf.runs.config import RETIRED, Config
from ram_tf.runs.presets import OF_RARL, PRESET_OF, PRESETS, preset
from tests.support.setting_values import FIELDS, other_value

# Settings that have an effect on one kind of dataset only.
ACTS_ON = {"year": "coco", "difficult": "voc2012", "manual_dir": "voc2012"}
ACTS_ON |= {"negatives": "coco"}


def parse(*arguments, **options):
    parser = argparse.ArgumentParser()
    setting_flags.add_arguments(parser)
    return setting_flags.from_arguments(parser.parse_args(arguments), **options)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_a_help_text(name):
    assert len(FIELDS[name][1].metadata["explanation"].split()) >= 2


def test_help_can_be_printed(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in FIELDS)


NOT_BY_CONTENT = (
    "pooled_units starts head_start pooling region_pooling layout_channels".split()
)


def test_paths_of_data_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = parse("--dataset", "csv", "--data_dir", "mine")
    assert settings.data.data_dir == str(tmp_path / "mine")
    settings = parse("--dataset", "coco", "--manual_dir", "../archives")
    assert settings.data.manual_dir == str(tmp_path.parent / "archives")
    assert settings.data.data_dir == ""


def test_a_folder_without_a_dataset_is_one_with_csv_files():
    assert parse("--data_dir", "mine").data.dataset == "csv"
    assert parse("--data_dir", "mine", "--dataset", "voc").data.dataset == "voc"
    assert parse().data.dataset == "digits"


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_a_flag(name):
    field = FIELDS[name][1]
    begin = ["--dataset", ACTS_ON.get(name, "csv")]
    if begin[1] != "csv":
        begin += ["--preset", "photographs"]
    if name == "pooled_units":
        # A probe needs a classifier without a hidden layer.
        begin += ["--probe_cost", "0"]
    if name in NOT_BY_CONTENT:
        begin += ["--localization", "linear"]
    if name == "negatives":
        begin += ["--data_dir", "c"]
    if name == "cache_dir":
        begin += ["--cache", "disk"]
    without = parse(*begin)[name]
    if field.metadata["only"] == "rarl":
        begin += ["--model", "rarl"]
    if name == "backbone":
        begin += ["--weights", "none"]
    values = other_value(name), field.default, 600
    value = next(value for value in values if value != without)
    if field.type is bool:
        given = [f"--{name}" if value else f"--no-{name}"]
    else:
        given = [f"--{name}", str(value)]
    assert parse(*begin, *given)[name] == value


def test_precision_floor_is_refused_without_calibration():
    floor = "--precision_floor", "0.9"
    assert parse("--dataset", "csv", *floor).evaluation.precision_floor == 0.9
    with pytest.raises(ValueError, match=r"Expected --calibrate with it"):
        parse("--dataset", "coco", *floor)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--year=2014", "--dataset coco"),
        ("--difficult=positive", "--dataset voc2007, voc2012 or voc"),
        ("--split_fraction=0.5,0.2,0.3", "--dataset csv"),
        ("--dataset=coco --split_fraction=0.5,0.2,0.3", "--dataset csv"),
        ("--dataset=coco --negatives=keep", "--dataset coco or voc and --data_dir"),
        ("--dataset=csv --data_dir=c --negatives=keep", "--dataset coco or voc"),
        ("--dataset=digits --manual_dir=here", "voc or coco without --data_dir"),
        ("--dataset=csv --manual_dir=here", "voc or coco without --data_dir"),
        ("--dataset=coco --data_dir=c --manual_dir=here", "voc or coco without"),
        ("--cache=ram --cache_dir=here", "--cache disk"),
        ("--starts=whole --start_scale=0.3", "--starts anchors"),
        ("--head_start=xavier --context=0.3", "--head_start pooled"),
    ],
)
def test_a_flag_without_effect_is_refused(given, expected):
    with pytest.raises(ValueError, match=f"has no effect here. Expected {expected}"):
        parse(*given.split())
    parse("--year=0", "--difficult=unknown", "--manual_dir=")  # defaults are allowed


def test_the_small_backbone_is_refused_with_weights_of_imagenet():
    with pytest.raises(ValueError, match="Expected --weights none"):
        parse("--dataset=csv", "--backbone=small")
    parse("--dataset=csv", "--backbone=small", "--weights=none")


def test_weights_are_refused_together_with_an_earlier_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin = "--dataset=csv", "--backbone=small", "--start_from=runs/mine"
    assert parse(*begin).model.start_from == str(tmp_path / "runs" / "mine")
    for weights in ("imagenet", "none"):
        with pytest.raises(ValueError, match=f"Received: --weights {weights} --start"):
            parse(*begin, f"--weights={weights}")


def test_evaluation_has_no_flag_to_split_a_csv_differently():
    parser = argparse.ArgumentParser()
    setting_flags.add_data_arguments(parser)
    assert vars(parser.parse_args(["--max_pixels", "9"])) == {"max_pixels": 9}
    with pytest.raises(SystemExit):
        parser.parse_args(["--split_fraction", "0.5,0.2,0.3"])


def test_without_flags_the_settings_are_those_of_the_digits_preset():
    assert parse() == Config.of(dataset="digits", **PRESETS["digits"])


def test_a_preset_may_depend_on_the_model():
    assert set(OF_RARL) <= set(PRESETS)
    changes = OF_RARL["digits"]
    settings = parse("--model", "rarl")
    expected = {"model": "rarl", **PRESETS["digits"], **changes}
    assert settings == Config.of(dataset="digits", **expected)
    assert preset("digits") == PRESETS["digits"]
    name, value = next(iter(changes.items()))
    assert parse("--model", "rarl", f"--{name}", "3")[name] == 3 != value


OF_ONE = [name for name, (_, field) in FIELDS.items() if field.metadata["only"]]


@pytest.mark.parametrize("name", OF_ONE)
def test_a_flag_of_the_other_model_is_refused(name):
    own = FIELDS[name][1].metadata["only"]
    (other,) = {"rdar", "rarl"} - {own}
    value = other_value(name)
    given = f"--{name}" if value is True else f"--{name}={value}"
    with pytest.raises(ValueError, match=f"--{name} has no effect on this model"):
        parse("--dataset=csv", f"--model={other}", given)
    parse("--dataset=csv", f"--model={own}", given)


def test_settings_of_both_models_are_allowed_if_both_are_compared():
    assert parse("--model=rarl", "--alpha=0.4", both_models=True).loss.alpha == 0.4


def test_a_flag_is_refused_if_the_rows_of_a_table_set_it():
    parser = argparse.ArgumentParser()
    setting_flags.add_arguments(parser)
    given = parser.parse_args(["--alpha=0.4", "--constraints=S"])
    setting_flags.check_not_fixed(given, {"region_source"}, "table 3")
    with pytest.raises(ValueError, match="The rows of table 4 set --constraints"):
        setting_flags.check_not_fixed(given, {"constraints"}, "table 4")


def test_flags_override_the_preset_of_the_dataset():
    settings = parse("--dataset", "voc2012", "--image_size", "100")
    expected = {**PRESETS[PRESET_OF["voc2012"]], "image_size": 100}
    assert settings == Config.of(dataset="voc2012", **expected)


def test_another_preset_can_be_chosen():
    settings = parse("--dataset", "csv", "--preset", "paper", "--epochs", "7")
    expected = {**PRESETS["paper"], "epochs": 7}
    assert settings == Config.of(dataset="csv", **expected)


@pytest.mark.parametrize("name", RETIRED)
@pytest.mark.parametrize("form", ["--{}", "--no-{}", "--{} 3", "--{}=3"])
def test_a_removed_flag_is_refused_with_the_reason(name, form):
    given = form.format(name)
    flag = given.replace("=", " ").split()[0]
    expected = (
        f"{flag} {RETIRED[name]}. Expected the command without it. "
        f"Received: {given.replace('=', ' ')}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        parse("--dataset=csv", *given.split(), "--no_such_flag")


def test_a_removed_flag_is_not_in_the_help(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert not [name for name in RETIRED if name in shown]


def test_a_removed_flag_is_not_a_setting():
    assert not RETIRED.keys() & FIELDS.keys()
