"""Tests that a run and its command line from an older package layout still work.

files/before_wings/make.py tells how the files were made.
"""

import json
import pathlib
import shutil

import numpy as np
import pytest

from ram_tf.serving.predictor import Predictor
from tests.support.h5_arrays import arrays
from tests.support.paths import FILES
from tests.support.scripts import script

BEFORE = FILES / "before_wings"
COMMAND = (
    "--dataset=csv --data_dir=squares --preset=paper --name=before --image_size=40 "
    "--crop_margin=8 --backbone=small --weights=none --frozen=0.7 --regions=2 "
    "--region_size=4 --region_pooling=average --pooling=average --units=16 "
    "--pooled_units=0 --probe_cost=0.01 --localization=content --starts=whole "
    "--start_scale=0.3 --head_start=pooled --loss=bce --constraints=SP --batch_size=8 "
    "--pooled_epochs=3 --epochs=2 --pooled_learning_rate=1e-3 --learning_rate=1e-3 "
    "--ema=0.9 --calibrate"
).split()


@pytest.fixture
def before(squares, tmp_path, monkeypatch):
    """The run's folder, next to its training data."""
    shutil.copytree(squares, tmp_path / "squares")
    monkeypatch.chdir(tmp_path)
    return pathlib.Path(shutil.copytree(BEFORE / "run", "run"))


def test_its_evaluation_gives_the_same_metrics(before):
    assert script("evaluate")(f"--model_dir={before}", "--output=again.json") == 0
    expected = json.loads((before / "results.json").read_text())
    found = json.loads(pathlib.Path("again.json").read_text())
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, abs=1e-4), name
        else:
            assert found[name] == value, name


@pytest.mark.slow
def test_its_command_resumes_it_to_the_same_weights_and_predictions(before):
    expected = arrays(before / "model.weights.h5")
    begun = arrays(BEFORE / "interrupted" / "best.weights.h5")
    assert any((begun[name] != value).any() for name, value in expected.items())
    for name in ("model.weights.h5", "calibration.json"):
        (before / name).unlink()
    (before / "checksums" / "calibration.json").unlink()
    shutil.copytree(BEFORE / "interrupted", before / "step2")

    where = (f"--output_dir={before}", "--saved_models=saved", "--resume")
    assert script("fit")(*COMMAND, *where) == 0

    found = arrays(before / "model.weights.h5")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
    images = sorted(
        pathlib.Path("squares").glob("val*.png"), key=lambda path: int(path.stem[3:])
    )
    outputs = Predictor.load("saved/before/1")([path.read_bytes() for path in images])
    with np.load(BEFORE / "outputs.npz") as kept:
        assert set(kept) == set(outputs)
        for name in kept:
            np.testing.assert_allclose(
                outputs[name], kept[name], atol=1e-4, err_msg=name
            )
