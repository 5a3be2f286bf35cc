"""Tests inference of runs and SavedModels over a split, and their calibration."""

import dataclasses
import shutil

import numpy as np
import pytest

from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.evaluation import infer_split
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.metrics import calibration
from ram_tf.metrics.calibration import Calibration
from ram_tf.models import evidence_map
from ram_tf.models.networks import crop_to_image
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.serving.formats.export import export
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor
from ram_tf.storage import cache
from tests.support.untrained_runs import (
    evaluate,
    start_run,
)


def test_calibration_is_fitted_to_the_split_that_is_given(squares, tmp_path):
    changes = {"calibrate": True, "precision_floor": 0.3}
    run = start_run(tmp_path, squares, seed=0, **changes)
    model, splits = run_models.load_attention(run), run_splits.load(run.config)
    infer_split.calibrate(run, model, splits.train)
    scores = infer_split.infer(run_models.view(run, model), splits.train, run.config)[
        "scores"
    ]
    fitted = calibration.fit(splits.train.labels, scores, "bce", 0.3)
    assert run.calibration.thresholds == pytest.approx(fitted.thresholds)
    assert run.calibration.temperature == pytest.approx(fitted.temperature)


def test_a_calibrated_view_describes_its_temperature_and_thresholds(squares, tmp_path):
    run = start_run(tmp_path / "run", squares, seed=0)
    plain = run_models.served_view(run, run_models.load_attention(run)).about
    assert not plain.keys() & {"temperature", "thresholds"}
    for fitted, expected in (
        (Calibration(2.0, (0.5,) * 3), {"temperature": 2.0}),
        (Calibration(1.0, (0.5, 0.5, 0.4)), {"thresholds": [0.5, 0.5, 0.4]}),
    ):
        run.calibration_file.write_text(fitted.to_json(run.label_names))
        assert run_models.served_view(run, run_models.load_attention(run)).about == {
            **plain,
            **expected,
        }


def test_a_calibrated_model_is_served_as_it_was_calibrated(squares, tmp_path):
    run = start_run(tmp_path / "run", squares, seed=0)
    fitted = Calibration(2.5, (0.1, 0.9, 0.5))
    run.calibration_file.write_text(fitted.to_json(run.label_names))
    view = run_models.served_view(run, run_models.load_attention(run))
    predictor = Predictor.load(export(view, run, tmp_path / "saved"))
    paths = [squares / f"val{i}.png" for i in range(4)]
    outputs = predictor([path.read_bytes() for path in paths])
    expected = 1 / (1 + np.exp(-outputs["scores"] / 2.5))
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-5)
    for line, row in zip(predict(predictor, paths), expected, strict=True):
        named = np.array(run.label_names)[row >= fitted.thresholds]
        assert sorted(line["labels"]) == sorted(named)


@pytest.fixture
def divided(squares, tmp_path):
    """A run whose one csv is divided at random, with the division recorded."""
    data = shutil.copytree(squares, tmp_path / "data")
    rows = []
    for path in (data / "train.csv", data / "val.csv"):
        head, *lines = path.read_text().splitlines()
        rows += lines
        path.unlink()
    (data / "data.csv").write_text("\n".join([head, *rows]) + "\n")
    run = start_run(tmp_path / "run", data, seed=0)
    run.record_training_images(*run_splits.load(run.config)[:2])
    return run, data / "data.csv"


def evaluate_one(run, name=None):
    split = run_splits.load_report(run.config, name, run.label_names)
    return evaluate([run], split, ViewSettings())


def test_training_images_are_not_evaluated_after_a_csv_has_changed(divided):
    run, path = divided
    assert evaluate_one(run)["split"] == "test"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *sorted(rows, reverse=True)]) + "\n")
    for spelling in (run.config.data.data_dir, f"{path.parent}/../data"):
        settings = run.config.replace(data_dir=spelling)
        test = run_splits.load_report(settings, None, run.label_names)
        with pytest.raises(ValueError, match=r"trained or.* of the split test, s"):
            infer_split.evaluate_runs([run], test, settings, ViewSettings())
    # Under its own name the training split may be evaluated.
    assert evaluate_one(run, "train")["split"] == "train"


def test_training_images_of_any_run_are_not_evaluated(runs, split, tmp_path):
    other = Run.open(shutil.copytree(runs[1].folder, tmp_path / "run"))
    train = run_splits.load_training(other.config)
    other.record_training_images(split.take(range(3)), train)
    named = dataclasses.replace(split, name="another")
    with pytest.raises(ValueError, match="3 of 16 of the split another"):
        evaluate([runs[0], other], named, ViewSettings())


def test_an_image_that_the_exported_model_rejects_is_named(runs, split, tmp_path):
    settings = runs[0].config.replace(max_pixels=1000)
    small = Run(runs[0].folder, settings, runs[0].label_names)
    version = export(
        run_models.view(small, run_models.load_attention(runs[0])),
        small,
        tmp_path / "saved",
    )
    with pytest.raises(ValueError, match=r"at most 1000 pixels.* 16 of 16.*val0\.png"):
        infer_split.infer_exported(Predictor.load(version), split)


def test_evidence_is_mapped_from_the_crop_to_the_image(runs, split):
    run = runs[0]
    pooled = run_models.load_pooled(run)
    found = infer_split.infer_pooled(pooled, split, run.config)
    (images,) = next(iter(evaluation_pipeline(split, [40], [32], len(split))))
    direct = pooled(images, with_evidence=True)
    expected = crop_to_image(direct["evidence"], 32 / 40)
    np.testing.assert_allclose(found["evidence"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["scores"], direct["scores"], rtol=1e-5, atol=1e-6)


def test_cached_outputs_without_evidence_or_of_another_method_are_not_used(
    squares, tmp_path, monkeypatch
):
    run = start_run(tmp_path, squares, seed=0)
    split = run_splits.load_report(run.config, "val", run.label_names)
    # As an earlier version cached them.
    about = {"pooled": run.pooling}
    key = cache.key_of(about, [run.pooled_weights], split, run.config)
    kept = run.folder / "outputs" / f"{key}.npz"
    cache.write(kept, {"key": np.array(key), "probabilities": np.zeros((16, 3))})
    assert "evidence" in infer_split.pooled_outputs(run, split, run.config)
    monkeypatch.setattr(
        infer_split, "infer_pooled", lambda *_: {"evidence": np.ones(1)}
    )
    assert len(infer_split.pooled_outputs(run, split, run.config)["evidence"]) == 16
    monkeypatch.setattr(evidence_map, "METHOD", "other cells")
    assert len(infer_split.pooled_outputs(run, split, run.config)["evidence"]) == 1


@pytest.mark.parametrize(
    ("count", "views"),
    [(2, ViewSettings()), (1, ViewSettings(count=10)), (1, ViewSettings(svm=True))],
)
def test_a_saved_model_is_evaluated_only_as_exported(count, views):
    with pytest.raises(
        ValueError, match="A SavedModel is evaluated as it was exported"
    ):
        infer_split.infer_exported_models([None] * count, None, None, views)
