"""Tests the SVMs of runs: how they are fitted, stored and loaded."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from ram_tf.evaluation import infer_split, svm
from ram_tf.evaluation.ensemble import ViewSettings, ensemble_view, svm_view
from ram_tf.evaluation.svm import OneVsRestSVM
from ram_tf.models.multi_view import MultiView
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.serving.formats.export import export
from ram_tf.serving.predictor import Predictor
from ram_tf.storage import cache
from tests.support.broken_array_files import truncated
from tests.support.untrained_runs import (
    FIVE,
    evaluate,
    precisions,
    run_eagerly,
    start_run,
)


@pytest.fixture(scope="module")
def result(runs, split):
    """The result of both runs with SVMs, which stay in the folder of the first."""
    return evaluate(runs, split, FIVE)


@pytest.fixture(scope="module")
def train(runs):
    return run_splits.load_training(runs[0].config)


@pytest.fixture(scope="module")
def inferred(runs, split, train):
    """The outputs of both runs together on the training split and on the other."""
    view = ensemble_view(runs, FIVE)
    return [run_eagerly(view, images) for images in (train, split)]


@pytest.mark.slow
def test_svms_of_two_scales_are_served_as_they_were_evaluated(
    runs, split, result, tmp_path
):
    version = export(svm_view(runs), runs[0], tmp_path / "saved")
    served = infer_split.infer_exported(Predictor.load(version), split)
    assert precisions(split, served) == pytest.approx(result["AP"])


def test_a_result_names_protocol_views_scales_and_svm(runs, split, result):
    expected = {
        "name": "rdar",
        "interpolation": "none",
        "difficult": "unknown",
        "views": 5,
        "views_from": "features",
        "scales": [40, 48],
        "crops": [32, 40],
        "models": 2,
        "describe": "z",
        "svm": True,
        "normalisation": "length 1",
        "class_weight": None,
        "folds": svm.FOLDS,
    }
    protocol = json.loads(json.dumps(result))["protocol"]
    assert expected.items() <= protocol.items()
    assert set(protocol["costs"]) <= set(np.float32(svm.COSTS).tolist())
    assert (
        protocol["costs_chosen_by"]
        == OneVsRestSVM.load(runs[0].svm).costs_chosen_by
        > 0
    )


def test_svms_are_fitted_to_the_whole_training_split_and_score_the_other(
    runs, split, train, inferred, result
):
    fitted = OneVsRestSVM.load(runs[0].svm)
    assert len(train) == 40
    # With the chosen costs: between two equally good ones rounding decides.
    for label, cost in enumerate(fitted.costs):
        labels = train.labels[:, label : label + 1]
        again = svm.fit(inferred[0]["description"], labels, {}, costs=(float(cost),))
        np.testing.assert_allclose(again.weights[0], fitted.weights[label], atol=1e-3)
    assert result["AP"] == pytest.approx(
        precisions(split, fitted.postprocess(inferred[1]))
    )
    assert result["attention"]["AP"] == pytest.approx(precisions(split, inferred[1]))
    assert result["AP"] != pytest.approx(result["attention"]["AP"])


@pytest.mark.parametrize("recorded", [False, True])
def test_svms_are_validated_on_images_that_no_run_was_trained_on(
    runs, split, train, monkeypatch, tmp_path, recorded
):
    masks, trained_on = [], {40: range(30), 48: range(20, 35)}

    def record(descriptions, labels, about, seed, held_out):
        masks.append(held_out.tolist())
        raise ValueError("recorded")

    monkeypatch.setattr(svm, "fit", record)
    if recorded:
        runs = [
            Run.open(shutil.copytree(run.folder, tmp_path / run.folder.name))
            for run in runs
        ]
        for run in runs:
            run.record_training_images(
                train.take(trained_on[run.config.image.image_size]), train.take([])
            )
    else:
        monkeypatch.setattr(
            run_splits,
            "hold_back",
            lambda settings, whole: (
                whole.take(trained_on[settings.image.image_size]),
                None,
            ),
        )
    for ensemble, first in ((runs[:1], 30), (runs, 35)):
        with pytest.raises(ValueError, match="recorded"):
            evaluate(ensemble, split, FIVE)
        assert masks.pop() == [False] * first + [True] * (40 - first)


def test_a_second_evaluation_runs_no_model(runs, split, result, monkeypatch):
    def fail(*_):
        raise AssertionError("a model was run")

    monkeypatch.setattr(MultiView, "__call__", fail)
    monkeypatch.setattr(infer_split, "infer_pooled", fail)
    assert evaluate(runs, split, FIVE) == result
    with pytest.raises(AssertionError, match="a model was run"):
        evaluate(runs, split, dataclasses.replace(FIVE, feature="x"))


def state(run):
    return run.svm.read_bytes(), run.svm.stat().st_mtime_ns


def never(*_):
    raise AssertionError("fitted again")


ONE = ViewSettings(source="features", svm=True, feature="z")


@pytest.fixture(scope="module")
def fitted_once(squares, tmp_path_factory):
    """A run with SVMs, without cached outputs; its images, split and result."""
    folder = tmp_path_factory.mktemp("fitted")
    data = shutil.copytree(squares, folder / "data")
    run = start_run(folder / "run", data, seed=3)
    split = run_splits.load_report(run.config, "val", run.label_names)
    result = evaluate([run], split, ONE)
    shutil.rmtree(run.folder / "outputs")
    return run, data, split, result


def test_a_second_evaluation_reads_the_stored_svms(fitted_once, monkeypatch):
    run, _, split, result = fitted_once
    before = state(run)
    monkeypatch.setattr(svm, "fit", never)
    again = evaluate([run], split, ONE)
    assert state(run) == before
    assert again["AP"] == pytest.approx(result["AP"], abs=1e-6)
    assert again["mAP"] == pytest.approx(result["mAP"], abs=1e-6)


def other_views(run, data):
    return dataclasses.replace(ONE, count=5)


def other_feature(run, data):
    return dataclasses.replace(ONE, feature="x")


def other_weights(run, data):
    model = run_models.load_attention(run)
    model.attention.region_lstm.classifier.bias.assign_add([0.5, 0.0, 0.0])
    model.save_weights(run.model_weights)
    return ONE


def older_release(run, data):
    # Files of earlier releases do not record what the SVMs were fitted to.
    arrays = cache.load(run.svm)
    del arrays["fitted_to"], arrays["costs_chosen_by"]
    np.savez(run.svm, **arrays)
    stored = OneVsRestSVM.load(run.svm)
    assert (stored.fitted_to, stored.costs_chosen_by) == ("", None)
    return ONE


def unreadable(run, data):
    truncated(run.svm)
    return ONE


def other_labels(run, data):
    path = data / "train.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].split(",")[0] + ",blue;green;red"
    lines[2] = lines[2].split(",")[0] + ","
    path.write_text("\n".join(lines) + "\n")
    return ONE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(other_views, marks=pytest.mark.slow),
        pytest.param(other_feature, marks=pytest.mark.slow),
        other_weights,
        pytest.param(older_release, marks=pytest.mark.slow),
        pytest.param(unreadable, marks=pytest.mark.slow),
        other_labels,
    ],
)
def test_svms_are_fitted_again_if_anything_has_changed(fitted_once, tmp_path, change):
    original, data, split, _ = fitted_once
    run = Run.open(shutil.copytree(original.folder, tmp_path / "run"))
    labels = (data / "train.csv").read_text()
    views = change(run, data)
    before = state(run)
    evaluate([run], split, views)
    (data / "train.csv").write_text(labels)
    assert state(run) != before
    fitted = OneVsRestSVM.load(run.svm)
    assert fitted.about["views"] == views.count
    assert fitted.about["describe"] == views.feature
    assert fitted.fitted_to


def test_stored_svms_have_the_views_that_they_were_fitted_with(
    runs, split, inferred, result
):
    view = svm_view(runs)
    scores = run_eagerly(view, split)["scores"]
    expected = OneVsRestSVM.load(runs[0].svm).decisions(inferred[1]["description"])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    named = {name: result["protocol"][name] for name in view.about}
    assert view.about == named


def fewer(runs, folder, squares):
    return runs[:1], "another number of runs. Expected 2. Received: 1"


def reordered(runs, folder, squares):
    shutil.copy(runs[0].svm, runs[1].svm)
    return runs[::-1], "Received: other weights"


def another(runs, folder, squares):
    other = start_run(folder / "other", squares, seed=7, image_size=48)
    return [runs[0], other], "Received: other weights"


def trained_on(runs, folder, squares):
    other = start_run(folder / "other", squares, seed=8)
    shutil.copy(runs[0].svm, other.svm)
    return [other, runs[1]], "Received: other weights"


@pytest.mark.parametrize("change", [fewer, reordered, another, trained_on])
def test_svms_of_other_runs_are_refused(runs, split, result, squares, tmp_path, change):
    others, message = change(runs, tmp_path, squares)
    with pytest.raises(ValueError, match=message):
        svm_view(others)


@pytest.mark.slow
def test_svms_of_one_run_at_several_scales_are_loaded(runs, split, tmp_path):
    run = Run.open(shutil.copytree(runs[0].folder, tmp_path / "run"))
    views = dataclasses.replace(FIVE, scales=(56, 48), count=1)
    assert evaluate([run], split, views)["protocol"]["scales"] == [56, 48]
    view = svm_view([run])
    assert (view.sizes, len(view.models)) == ((56, 48), 1)


def test_labels_that_the_run_does_not_know_are_named_when_svms_are_fitted(
    squares, split, tmp_path, capsys
):
    folder = shutil.copytree(squares, tmp_path / "data")
    (folder / "boxes.json").unlink()
    run = start_run(tmp_path / "run", folder, seed=1)
    for name in ("train", "val"):
        path = folder / f"{name}.csv"
        path.write_text(path.read_text().replace("red", "orange"))
    evaluate([run], split, FIVE)
    assert "orange" in capsys.readouterr().err
