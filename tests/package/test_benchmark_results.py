"""`benchmarks.run` measures, stores and prints the selected ratios."""

import datetime
import json
import statistics

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import record, run, timing

RATIOS = [ratio for group in run.GROUPS for ratio in group.ratios]


def entry(value, target="<= 2"):
    measured = timing.Measured(value, value - 1, value + 1, 3, {"a": 0.5, "b": 0.25})
    return record.entry(measured, target, {"backbone": "small"}, {"cores": 2})


def test_ratios_that_are_not_measured_again_are_kept(tmp_path):
    path = tmp_path / "new" / "results.json"
    record.update(path, {"one": entry(1.0), "other": entry(2.0)})
    record.update(path, {"other": entry(5.0)})
    content = json.loads(path.read_text())
    assert (content["one"], content["other"]) == (1.0, 5.0)
    assert content["details"] == {"one": entry(1.0), "other": entry(5.0)}
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_details_hold_times_settings_and_machine(tmp_path):
    record.update(tmp_path / "r.json", {"one": entry(1.0)})
    details = json.loads((tmp_path / "r.json").read_text())["details"]["one"]
    assert (details["low"], details["high"], details["rounds"]) == (0.0, 2.0, 3)
    assert details["seconds"] == {"a": 0.5, "b": 0.25}
    assert details["settings"] == {"backbone": "small"}
    assert details["machine"] == {"cores": 2}


@pytest.mark.parametrize("text", ["", "[]", '{"model_over_backbone": 1.0}'])
def test_another_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="The results cannot be read"):
        record.update(path, {"one": entry(1.0)})
    assert path.read_text() == text


def test_the_table_shows_target_ratio_range_and_times():
    head, one, other = record.table(
        {"one": entry(1.2345), "other": entry(7.0, target="")}
    ).splitlines()
    assert head.split() == "target ratio rounds milliseconds per image".split()
    assert one.split() == "one <= 2 1.23 0.234 to 2.23 a 500, b 250".split()
    assert other.split() == "other 7 6 to 8 a 500, b 250".split()


def test_the_machine_has_cores_versions_and_the_day():
    machine = record.machine()
    assert machine["cores"] >= 1
    assert machine["processor"]
    today = datetime.datetime.now(datetime.UTC).date()
    age = today - datetime.date.fromisoformat(machine["date"])
    assert age <= datetime.timedelta(days=1)
    assert machine["tensorflow"] == tf.__version__
    assert machine["keras"] == keras.__version__


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "models_over_backbone"], "unknown ratio: models_over_backbone"),
        (["--backbone", "small", "--only", "share_rest_vgg"], "share_rest_vgg"),
        (["--rounds", "0"], "1 or more"),
        (["--backbone", "vgg"], "invalid choice"),
    ],
)
def test_invalid_flags_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        run.parse(flags)
    assert message in capsys.readouterr().err


def test_defaults_are_vgg16_then_mobilenet_v2_at_batch_8():
    arguments = run.parse([])
    assert tuple(arguments.backbone) == ("vgg16", "mobilenet_v2")
    assert arguments.batch_size == 8
    assert arguments.output.parts[-2:] == ("benchmarks", "results.json")
    assert run.full_name("share_rest", "vgg16") == "share_rest"
    assert run.full_name("share_rest", "mobilenet_v2") == "share_rest_mobilenet_v2"
    assert run.full_name("share_rest", "vgg16", "rarl") == "share_rest_rarl"


TINY = "--backbone small --image_size 40 --batch_size 2 --rounds 2".split()


def test_only_the_named_ratios_are_measured_and_written(tmp_path, capsys):
    path = tmp_path / "results.json"
    record.update(path, {"model_over_backbone_small": entry(9.0), "old": entry(3.0)})
    only = ["--only", "model_over_backbone", "share_rest_small"]
    assert run.main([*TINY, f"--output={path}", *only]) == 0
    content = json.loads(path.read_text())
    assert [*content["details"]] == [
        "model_over_backbone_small",
        "old",
        "share_rest_small",
    ]
    assert content["old"] == 3.0
    details = content["details"]["model_over_backbone_small"]
    assert details["settings"]["image_size"] == 40
    assert details["value"] == content["model_over_backbone_small"] != 9.0
    assert details["low"] <= details["value"] <= details["high"]
    printed = capsys.readouterr().out
    assert "model_over_backbone_small" in printed
    assert "old" not in printed


def test_an_interrupted_run_keeps_the_ratios_it_has_measured(
    tmp_path, capsys, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    groups = [run.GROUPS[0], run.GROUPS[1]._replace(candidates=interrupted)]
    monkeypatch.setattr(run, "GROUPS", groups)
    path = tmp_path / "results.json"
    only = ["--only", "model_over_backbone", "pipeline_over_functions"]
    with pytest.raises(KeyboardInterrupt):
        run.main([*TINY, f"--output={path}", *only])
    assert [*json.loads(path.read_text())["details"]] == ["model_over_backbone_small"]
    assert "model_over_backbone_small" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_run_writes_every_ratio(tmp_path):
    path = tmp_path / "results.json"
    assert run.main([*TINY, f"--output={path}"]) == 0
    content = json.loads(path.read_text())
    details = content.pop("details")
    assert [*content] == [*details] == [f"{ratio.name}_small" for ratio in RATIOS]
    assert all(np.isfinite(value) for value in content.values())
    shares = [content[f"share_{part}_small"] for part in ("sampling", "w_fx", "rest")]
    assert sum(shares) == pytest.approx(1)
    ratio = details["model_over_backbone_small"]
    median = statistics.median([ratio["low"], ratio["high"]])
    assert median == pytest.approx(ratio["value"])
