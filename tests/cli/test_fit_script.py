"""Tests of fit.py on object proposals and on real photographs."""

import json

import pytest

from tests.support.paths import SHARED
from tests.support.scripts import SMALL_FLAGS, script


@pytest.mark.slow
def test_a_run_on_proposals_is_trained_and_evaluated_but_not_exported(
    squares, tmp_path, capsys
):
    run = tmp_path / "run"
    flags = [*SMALL_FLAGS, "--region_source=proposals", f"--data_dir={squares}"]
    saved = f"--saved_models={tmp_path / 'saved'}"
    assert script("fit")(*flags, f"--output_dir={run}", saved) == 0
    assert "not exported: object proposals" in capsys.readouterr().out
    reported = json.loads((run / "results.json").read_text())
    place = tmp_path / "result.json"
    assert script("evaluate")(f"--model_dir={run}", f"--output={place}") == 0
    assert json.loads(place.read_text())["mAP"] == pytest.approx(reported["mAP"])
    for name, arguments in (
        ("export", [f"--model_dir={run}", saved]),
        ("predict", [f"--model_dir={run}", squares / "val0.png"]),
        ("evaluate", [f"--model_dir={run}", "--views=10"]),
    ):
        assert script(name)(*arguments) == 1
        error = capsys.readouterr().err
        assert "error: " in error
        assert "proposals" in error.splitlines()[-1]
        assert "Traceback" not in error
    assert not (tmp_path / "saved" / "csv" / "1").exists()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here")
def test_a_run_on_real_coco_ends_with_a_saved_model(tmp_path):
    weights = SHARED / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"
    status = script("fit")(
        *("--dataset=coco", "--preset=photographs", "--backbone=mobilenet_v2"),
        *(f"--weights={weights}", f"--data_dir={SHARED / 'data' / 'coco'}"),
        *("--pooled_epochs=1", "--epochs=1", f"--output_dir={tmp_path / 'run'}"),
        f"--saved_models={tmp_path / 'saved'}",
    )
    assert status == 0
    assert (tmp_path / "saved" / "coco" / "1" / "saved_model.pb").is_file()
