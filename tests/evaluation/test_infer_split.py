import argparse
import dataclasses
import json
import shutil

import numpy as np
import pytest

from ram_tf.cli import evaluation_flags
from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.data.split import Split
from ram_tf.evaluation import (
    infer_split,
    results,
    svm,
)
from ram_tf.evaluation.ensemble import ViewSettings, ensemble_view, svm_view
from ram_tf.evaluation.svm import OneVsRestSVM
from ram_tf.metrics import calibration, multi_label, protocols
from ram_tf.metrics.calibration import Calibration
from ram_tf.models import evidence_map
from ram_tf.models.multi_view import MultiView
from ram_tf.models.networks import crop_to_image
from ram_tf.runs import run_models, run_splits
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from ram_tf.serving.export import export
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor
from ram_tf.storage import cache
from tests.support.broken_array_files import truncated

SETTINGS = Config.of(image_size=512, crop_margin=64, loss="bce")


def split_of(labels, boxes=None):
    count = len(labels)
    names = tuple(f"{i}.png" for i in range(count))
    return Split((b"",) * count, names, np.array(labels, np.int8), ("a", "b"), boxes)


def outputs_of(probabilities, translations):
    """Two regions an image of scale 0.25; the second one speaks for every label."""
    probabilities = np.array(probabilities)
    count = len(probabilities)
    regions = np.zeros((count, 2, 2, 3))
    regions[:, :, 0, 0] = regions[:, :, 1, 1] = 0.25
    regions[:, 1, :, 2] = translations
    region_scores = np.stack([probabilities - 1, probabilities], 1)
    boxes = np.tile([0.0, 0.0, 0.5, 0.5], (count, 2, 1))
    return {
        "scores": probabilities,
        "probabilities": probabilities,
        "regions": regions,
        "boxes": boxes,
        "region_scores": region_scores,
    }


def test_figures_of_a_hand_made_split():
    split = split_of([[1, 0], [0, 1], [1, 0]])
    outputs = outputs_of([[0.9, 0.1], [0.8, 0.7], [0.6, 0.2]], [0, 0])
    result = results.evaluate(outputs, split, SETTINGS)
    # Ranking of a: present, absent, present.
    assert result["AP"] == pytest.approx({"a": (1 + 2 / 3) / 2, "b": 1.0})
    assert result["mAP"] == pytest.approx((5 / 6 + 1) / 2)
    # Predicted: a three times, twice rightly; b once, rightly.
    assert result["OP"] == pytest.approx(3 / 4)
    assert result["OR"] == pytest.approx(1.0)
    assert result["CP"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["region_iou"] == pytest.approx(1.0)
    assert result["images"] == 3
    assert result["mAP_min10"] is None
    assert result["pooled"] is None
    assert "pointing" not in result


def test_pointing_maps_centres_from_the_crop_to_the_image():
    # t = (0.8, 0.4) is (0.9, 0.7) of the crop, which is 448 of 512 pixels wide.
    x, y = (0.9 - 0.5) * 448 / 512 + 0.5, (0.7 - 0.5) * 448 / 512 + 0.5
    outputs = outputs_of([[0.9, 0.1]], [0.8, 0.4])
    for half, expected in ((0.001, 1.0), (None, 0.0)):
        # Either a tiny box at that place, or one where the crop's own fraction is.
        cx, cy, r = (x, y, half) if half else (0.9, 0.7, 0.01)
        box = np.array([[cy - r, cx - r, cy + r, cx + r]], np.float32)
        result = results.evaluate(outputs, split_of([[1, 0]], ({"a": box},)), SETTINGS)
        assert result["pointing"] == expected
        assert result["pointing_pairs"] == 1
        assert result["pointing_centre"] == 0.0


BOXED = ({"a": np.array([[0.0, 0.5, 0.5, 1.0]])}, {"b": np.array([[0, 0, 1, 0.5]])})


def with_evidence(outputs):
    """As a pooled classifier says it: on a's box in the first image, on no other."""
    points = np.array([[[0.2, 0.8], [0.2, 0.8]], [[0.2, 0.8], [0.2, 0.8]]])
    return outputs | {"evidence": points}


def test_evidence_of_the_pooled_classifier_points_beside_the_regions():
    # The second region is in the lower right, where neither object is.
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.7]], [0.8, 0.8])
    split = split_of([[1, 0], [0, 1]], BOXED)
    pooled = with_evidence(outputs)
    result = results.evaluate(outputs, split, SETTINGS, pooled=pooled)
    assert (result["pointing"], result["pointing_evidence"]) == (0.0, 0.5)
    assert results.evaluate_pooled(pooled, split)["pointing_evidence"] == 0.5
    assert result["pointing_shuffled"] == result["pointing"]
    assert result["region_spread"] == 0


@pytest.mark.parametrize("case", ["no classifier", "not linear", "several models"])
def test_where_there_is_no_evidence_it_is_null_and_a_dash(case):
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.7]], [0, 0])
    split = split_of([[1, 0], [0, 1]], BOXED)
    others = {"no classifier": {}, "not linear": {"pooled": outputs}}
    others = others.get(case, {"pooled": with_evidence(outputs)})
    about = {"views": 1, "views_from": "image", "scales": [512], "crops": [448]}
    about["models"] = 1 + (case == "several models")
    result = results.evaluate(outputs, split, SETTINGS, about=about, **others)
    assert result["pointing_evidence"] is None
    (row,) = (
        line.split()
        for line in results.table(result).splitlines()
        if line.startswith("pointing_evidence")
    )
    assert row[1] == "\N{EN DASH}"


def test_pointing_of_a_single_image_from_another_is_null():
    outputs = outputs_of([[0.9, 0.1]], [0, 0])
    result = results.evaluate(outputs, split_of([[1, 0]], BOXED[:1]), SETTINGS)
    assert result["pointing_shuffled"] is None


def test_spread_is_that_of_centres_outside_too_as_fractions_of_the_image():
    # In x from 0.5 to 1.25 of a crop of 448 of 512 pixels; without boxes as well.
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.7]], [0, 0])
    outputs["regions"][1, 1, 0, 2] = 1.5
    result = results.evaluate(outputs, split_of([[1, 0], [0, 1]]), SETTINGS)
    move = 0.375 * 448 / 512
    # Averaged with the first region, which stays.
    assert result["region_spread"] == pytest.approx(np.sqrt(move**2 / 2) / 2)
    assert "pointing_shuffled" not in result


def test_a_result_is_json_without_nan():
    split = split_of([[1, 0], [0, 0]])
    outputs = outputs_of([[0.9, 0.1], [0.2, 0.3]], [0, 0])
    result = results.evaluate(outputs, split, SETTINGS, pooled=outputs)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text)["AP"] == {"a": 1.0, "b": None}
    assert result["pooled"]["mAP"] == result["mAP"]


def test_the_table_shows_both_models_side_by_side():
    split = split_of([[1, 0], [0, 1]] * 10)
    good = outputs_of([[0.9, 0.1], [0.2, 0.7]] * 10, [0, 0])
    bad = outputs_of([[0.1, 0.9], [0.7, 0.2]] * 10, [0, 0])
    result = results.evaluate(good, split, SETTINGS, pooled=bad)
    lines = results.table(result).splitlines()
    (row,) = (line.split() for line in lines if line.startswith("mAP "))
    assert row[1] == "100.0"
    assert float(row[2]) < 50
    (above,) = (line for line in lines if line.startswith("attention - pooled"))
    assert "95 % interval" in above


@pytest.mark.parametrize(
    ("protocol", "known"),
    [
        (protocols.PROTOCOLS["rdar"], {"mAP", "mAP_min10", "OF1"}),
        (
            dataclasses.replace(protocols.PROTOCOLS["rdar"], name="", threshold=0.3),
            {"mAP", "mAP_min10", "OF1"},
        ),
        (protocols.PROTOCOLS["mlgcn"], {"mAP", "mAP_min10"}),
        (protocols.PROTOCOLS["srn"], {"mAP_min10"}),
        (protocols.PROTOCOLS["asl"], {"mAP_min10"}),
        (protocols.PROTOCOLS["voc07"], {"mAP_min10", "OF1"}),
    ],
    ids=["rdar", "other threshold", "mlgcn", "srn", "asl", "voc07"],
)
def test_intervals_are_of_what_the_protocol_counts_alike(protocol, known):
    labels = np.random.default_rng(0).integers(0, 2, (40, 2))
    outputs = outputs_of(np.random.default_rng(1).random((40, 2)), [0, 0])
    result = results.evaluate(outputs, split_of(labels), SETTINGS, protocol)
    assert set(result["intervals"]) == known
    for name, interval in result["intervals"].items():
        assert interval["low"] < result[name] < interval["high"]


def test_the_table_says_of_what_and_how_it_counts():
    outputs = outputs_of([[0.9, 0.1]], [0, 0])
    result = results.evaluate(outputs, split_of([[1, 0]]), SETTINGS)
    first, *_ = results.table(result).splitlines()
    size = SETTINGS.image.image_size
    assert "1 images; protocol rdar, AP interpolation none" in first
    assert f"1 view from image, N = {size}; difficult: unknown" in first


def test_what_is_not_a_number_is_written_as_null(tmp_path):
    results.write({"mAP": float("nan"), "AP": {"a": 0.5}}, tmp_path / "result.json")
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text) == {"mAP": None, "AP": {"a": 0.5}}


def test_a_result_file_is_written_whole(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        results.write({"mAP": object()}, path)
    assert path.read_text() == "old"
    results.write({"mAP": 0.5}, path)
    assert json.loads(path.read_text()) == {"mAP": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def start(folder, squares, seed, **changes):
    """A run as fit.py leaves it, but for the training."""
    settings = Config.of(
        dataset="csv",
        data_dir=str(squares),
        backbone="small",
        weights="none",
        crop_margin=8,
        regions=2,
        region_size=4,
        units=16,
        starts="anchors",
        **{"image_size": 40, "loss": "bce", "region_pooling": "max", **changes},
    )
    run = Run.start(folder, settings, ("blue", "green", "red"))
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    model = run_models.build_attention(run, pooled)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    model.save_weights(run.model_weights)
    return run


def test_calibration_is_fitted_to_the_split_that_is_given(squares, tmp_path):
    changes = {"calibrate": True, "precision_floor": 0.3}
    run = start(tmp_path, squares, seed=0, **changes)
    model, splits = run_models.load_attention(run), run_splits.load(run.config)
    infer_split.calibrate(run, model, splits.train)
    scores = infer_split.infer(run_models.view(run, model), splits.train, run.config)[
        "scores"
    ]
    fitted = calibration.fit(splits.train.labels, scores, "bce", 0.3)
    assert run.calibration.thresholds == pytest.approx(fitted.thresholds)
    assert run.calibration.temperature == pytest.approx(fitted.temperature)


def test_thresholds_are_told_where_they_were_fitted(squares, tmp_path):
    run = start(tmp_path / "run", squares, seed=0)
    plain = run_models.served_view(run, run_models.load_attention(run)).about
    assert not plain.keys() & {"temperature", "thresholds"}
    for fitted, told in (
        (Calibration(2.0, (0.5,) * 3), {"temperature": 2.0}),
        (Calibration(1.0, (0.5, 0.5, 0.4)), {"thresholds": [0.5, 0.5, 0.4]}),
    ):
        run.calibration_file.write_text(fitted.to_json(run.label_names))
        assert run_models.served_view(run, run_models.load_attention(run)).about == {
            **plain,
            **told,
        }


def test_a_calibrated_model_is_served_as_it_was_calibrated(squares, tmp_path):
    run = start(tmp_path / "run", squares, seed=0)
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


@pytest.fixture(scope="module")
def runs(squares, tmp_path_factory):
    """Two runs of a scale each."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        start(folder / str(size), squares, seed=size, image_size=size)
        for size in (40, 48)
    ]


@pytest.fixture(scope="module")
def split(runs):
    return run_splits.load_report(runs[0].config, "val", runs[0].label_names)


FIVE = ViewSettings(count=5, source="features", svm=True, feature="z")


def evaluated(runs, split, views, **named):
    return infer_split.evaluate_runs(runs, split, runs[0].config, views, **named)


@pytest.fixture(scope="module")
def result(runs, split):
    """Of both runs together, with SVMs, which stay in the folder of the first."""
    return evaluated(runs, split, FIVE)


def eagerly(view, split):
    """What a view says of a split, all at once and without a graph."""
    (images,) = evaluation_pipeline(split, view.sizes, None, len(split))
    return {name: value.numpy() for name, value in view(images).items()}


@pytest.fixture(scope="module")
def train(runs):
    return run_splits.load_training(runs[0].config)


@pytest.fixture(scope="module")
def seen(runs, split, train):
    """What both runs together say of the training split and of the other."""
    view = ensemble_view(runs, FIVE)
    return [eagerly(view, images) for images in (train, split)]


def precisions(split, outputs):
    """AP by label name of a dict of arrays."""
    found = multi_label.average_precision(split.labels, outputs["probabilities"])
    return dict(zip(split.label_names, found, strict=True))


@pytest.fixture
def divided(squares, tmp_path):
    """A run whose one csv is divided by chance, and which has noted how."""
    data = shutil.copytree(squares, tmp_path / "data")
    rows = []
    for path in (data / "train.csv", data / "val.csv"):
        head, *some = path.read_text().splitlines()
        rows += some
        path.unlink()
    (data / "data.csv").write_text("\n".join([head, *rows]) + "\n")
    run = start(tmp_path / "run", data, seed=0)
    run.record_training_images(*run_splits.load(run.config)[:2])
    return run, data / "data.csv"


def report(run, name=None):
    split = run_splits.load_report(run.config, name, run.label_names)
    return evaluated([run], split, ViewSettings())


def test_what_a_run_has_seen_is_not_reported_after_a_csv_has_changed(divided):
    run, path = divided
    assert report(run)["split"] == "test"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *sorted(rows, reverse=True)]) + "\n")
    for spelling in (run.config.data.data_dir, f"{path.parent}/../data"):
        settings = run.config.replace(data_dir=spelling)
        test = run_splits.load_report(settings, None, run.label_names)
        with pytest.raises(ValueError, match=r"has learnt from.* of the split test, s"):
            infer_split.evaluate_runs([run], test, settings, ViewSettings())
    # By its own name what is learnt from may be looked at.
    assert report(run, "train")["split"] == "train"


def test_what_another_of_the_runs_has_seen_is_not_reported(runs, split, tmp_path):
    other = Run.open(shutil.copytree(runs[1].folder, tmp_path / "run"))
    train = run_splits.load_training(other.config)
    other.record_training_images(split.take(range(3)), train)
    named = dataclasses.replace(split, name="another")
    with pytest.raises(ValueError, match="3 of 16 of the split another"):
        evaluated([runs[0], other], named, ViewSettings())


def test_an_image_that_the_exported_model_refuses_is_named(runs, split, tmp_path):
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
    (images,) = next(iter(evaluation_pipeline(split, [40], 32, len(split))))
    seen = pooled(images, with_evidence=True)
    expected = crop_to_image(seen["evidence"], 32 / 40)
    np.testing.assert_allclose(found["evidence"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["scores"], seen["scores"], rtol=1e-5, atol=1e-6)


def test_what_was_kept_without_evidence_or_of_another_is_not_taken(
    squares, tmp_path, monkeypatch
):
    run = start(tmp_path, squares, seed=0)
    split = run_splits.load_report(run.config, "val", run.label_names)
    # As an earlier state of the program kept it.
    about = {"pooled": run.pooling}
    key = cache.key_of(about, [run.pooled_weights], split, run.config)
    kept = run.folder / "outputs" / f"{key}.npz"
    cache.write(kept, {"key": np.array(key), "probabilities": np.zeros((16, 3))})
    assert "evidence" in infer_split.pooled_outputs(run, split, run.config)
    monkeypatch.setattr(
        infer_split, "infer_pooled", lambda *_: {"evidence": np.ones(1)}
    )
    assert len(infer_split.pooled_outputs(run, split, run.config)["evidence"]) == 16
    monkeypatch.setattr(evidence_map, "HOW", "other cells")
    assert len(infer_split.pooled_outputs(run, split, run.config)["evidence"]) == 1


def test_two_runs_at_two_scales_look_together(runs, split):
    together = ensemble_view(runs, ViewSettings())
    assert together.sizes == (40, 48)
    outputs = eagerly(together, split)
    alone = [eagerly(ensemble_view([run], ViewSettings()), split) for run in runs]
    scores = np.mean([a["scores"] for a in alone], 0)
    np.testing.assert_allclose(outputs["scores"], scores, atol=1e-5)
    assert np.abs(alone[0]["scores"] - alone[1]["scores"]).max() > 0.01
    result = evaluated(runs, split, ViewSettings())
    assert result["protocol"]["scales"] == [40, 48]
    assert result["AP"] == pytest.approx(precisions(split, outputs))
    # What it is compared with: the first run alone.
    assert result["single_view"]["AP"] == pytest.approx(precisions(split, alone[0]))
    assert result["pointing_evidence"] is None
    assert evaluated(runs[:1], split, ViewSettings())["pointing_evidence"] >= 0


@pytest.mark.slow
def test_svms_of_two_scales_are_served_as_they_were_evaluated(
    runs, split, result, tmp_path
):
    version = export(svm_view(runs), runs[0], tmp_path / "saved")
    served = infer_split.infer_exported(Predictor.load(version), split)
    assert precisions(split, served) == pytest.approx(result["AP"])


@pytest.mark.parametrize(
    ("pooling", "asked", "described"),
    [("max", None, "pooled"), ("flatten", None, "z"), ("flatten", "x", "x")],
)
def test_what_svms_see_depends_on_how_regions_are_pooled(
    squares, tmp_path, pooling, asked, described
):
    run = start(tmp_path, squares, seed=0, region_pooling=pooling)
    look = ViewSettings(source="features", svm=True, feature=asked)
    assert ensemble_view([run], look).describe == described


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


def test_svms_are_fitted_to_the_whole_training_split_and_judge_the_other(
    runs, split, train, seen, result
):
    fitted = OneVsRestSVM.load(runs[0].svm)
    assert len(train) == 40
    # With the costs that were chosen: between two that are as good, rounding decides.
    for label, cost in enumerate(fitted.costs):
        labels = train.labels[:, label : label + 1]
        again = svm.fit(seen[0]["description"], labels, {}, costs=(float(cost),))
        np.testing.assert_allclose(again.weights[0], fitted.weights[label], atol=1e-3)
    assert result["AP"] == pytest.approx(precisions(split, fitted.postprocess(seen[1])))
    assert result["attention"]["AP"] == pytest.approx(precisions(split, seen[1]))
    assert result["AP"] != pytest.approx(result["attention"]["AP"])


@pytest.mark.parametrize("noted", [False, True])
def test_svms_are_judged_on_what_none_of_the_runs_has_learnt_from(
    runs, split, train, monkeypatch, tmp_path, noted
):
    masks, learnt = [], {40: range(30), 48: range(20, 35)}

    def noting(descriptions, labels, about, seed, unlearnt):
        masks.append(unlearnt.tolist())
        raise ValueError("noted")

    monkeypatch.setattr(svm, "fit", noting)
    if noted:
        runs = [
            Run.open(shutil.copytree(run.folder, tmp_path / run.folder.name))
            for run in runs
        ]
        for run in runs:
            run.record_training_images(
                train.take(learnt[run.config.image.image_size]), train.take([])
            )
    else:
        monkeypatch.setattr(
            run_splits,
            "hold_back",
            lambda settings, whole: (
                whole.take(learnt[settings.image.image_size]),
                None,
            ),
        )
    for some, first in ((runs[:1], 30), (runs, 35)):
        with pytest.raises(ValueError, match="noted"):
            evaluated(some, split, FIVE)
        assert masks.pop() == [False] * first + [True] * (40 - first)


def test_a_second_evaluation_asks_no_model(runs, split, result, monkeypatch):
    def fail(*_):
        raise AssertionError("a model was asked")

    monkeypatch.setattr(MultiView, "__call__", fail)
    monkeypatch.setattr(infer_split, "infer_pooled", fail)
    assert evaluated(runs, split, FIVE) == result
    with pytest.raises(AssertionError, match="a model was asked"):
        evaluated(runs, split, dataclasses.replace(FIVE, feature="x"))


def state(run):
    return run.svm.read_bytes(), run.svm.stat().st_mtime_ns


def never(*_):
    raise AssertionError("fitted again")


ONE = ViewSettings(source="features", svm=True, feature="z")


@pytest.fixture(scope="module")
def fitted_once(squares, tmp_path_factory):
    """A run with SVMs, its images, its result; what its model said is forgotten."""
    folder = tmp_path_factory.mktemp("fitted")
    data = shutil.copytree(squares, folder / "data")
    run = start(folder / "run", data, seed=3)
    split = run_splits.load_report(run.config, "val", run.label_names)
    result = evaluated([run], split, ONE)
    shutil.rmtree(run.folder / "outputs")
    return run, data, split, result


def test_a_second_evaluation_reads_the_stored_svms(fitted_once, monkeypatch):
    run, _, split, result = fitted_once
    before = state(run)
    monkeypatch.setattr(svm, "fit", never)
    again = evaluated([run], split, ONE)
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
    # As it wrote them before SVMs knew what they were fitted to.
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
        older_release,
        pytest.param(unreadable, marks=pytest.mark.slow),
        other_labels,
    ],
)
def test_svms_are_fitted_again_where_anything_changed(fitted_once, tmp_path, change):
    original, data, split, _ = fitted_once
    run = Run.open(shutil.copytree(original.folder, tmp_path / "run"))
    labels = (data / "train.csv").read_text()
    views = change(run, data)
    before = state(run)
    evaluated([run], split, views)
    (data / "train.csv").write_text(labels)
    assert state(run) != before
    fitted = OneVsRestSVM.load(run.svm)
    assert fitted.about["views"] == views.count
    assert fitted.about["describe"] == views.feature
    assert fitted.fitted_to


def test_the_stored_svms_see_as_they_were_fitted(runs, split, seen, result):
    view = svm_view(runs)
    scores = eagerly(view, split)["scores"]
    expected = OneVsRestSVM.load(runs[0].svm).decisions(seen[1]["description"])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    named = {name: result["protocol"][name] for name in view.about}
    assert view.about == named


def fewer(runs, folder, squares):
    return runs[:1], "another number of runs. Expected 2. Received: 1"


def reordered(runs, folder, squares):
    shutil.copy(runs[0].svm, runs[1].svm)
    return runs[::-1], "Received: other weights"


def another(runs, folder, squares):
    other = start(folder / "other", squares, seed=7, image_size=48)
    return [runs[0], other], "Received: other weights"


def trained_on(runs, folder, squares):
    other = start(folder / "other", squares, seed=8)
    shutil.copy(runs[0].svm, other.svm)
    return [other, runs[1]], "Received: other weights"


@pytest.mark.parametrize("change", [fewer, reordered, another, trained_on])
def test_svms_of_other_runs_are_refused(runs, split, result, squares, tmp_path, change):
    others, said = change(runs, tmp_path, squares)
    with pytest.raises(ValueError, match=said):
        svm_view(others)


def test_one_run_looks_at_all_scales_and_of_several_each_at_its_own(runs):
    one = ensemble_view(runs[:1], ViewSettings((40, 48)))
    assert (one.sizes, len(one.models)) == ((40, 48), 1)
    assert one.about["crops"] == [32, 40]
    two = ensemble_view(runs, ViewSettings((56, 64)))
    assert (two.sizes, len(two.models)) == ((56, 64), 2)
    with pytest.raises(ValueError, match=r"Expected 2 --scales.*Received: 40, 48, 56"):
        ensemble_view(runs, ViewSettings((40, 48, 56)))


@pytest.mark.slow
def test_svms_of_one_run_at_several_scales_are_found_again(runs, split, tmp_path):
    run = Run.open(shutil.copytree(runs[0].folder, tmp_path / "run"))
    views = dataclasses.replace(FIVE, scales=(56, 48), count=1)
    assert evaluated([run], split, views)["protocol"]["scales"] == [56, 48]
    view = svm_view([run])
    assert (view.sizes, len(view.models)) == ((56, 48), 1)


def test_a_scale_without_room_for_the_margin_is_refused(runs):
    with pytest.raises(ValueError, match="more than the crop margin of 8 pixels"):
        ensemble_view(runs[:1], ViewSettings((8,)))


def test_runs_of_other_labels_or_loss_do_not_look_together(runs, squares, tmp_path):
    other_loss = start(tmp_path / "run", squares, seed=1, loss="euclidean")
    other_labels = dataclasses.replace(runs[0], label_names=("blue", "red", "green"))
    for other in (other_loss, other_labels):
        with pytest.raises(ValueError, match="same labels and loss") as refused:
            ensemble_view([runs[0], other], ViewSettings())
        assert str(other.folder) in str(refused.value)


def test_svms_are_not_fitted_to_other_labels_than_the_runs(squares, split, tmp_path):
    folder = shutil.copytree(squares, tmp_path / "data")
    (folder / "boxes.json").unlink()
    run = start(tmp_path / "run", folder, seed=1)
    for name in ("train", "val"):
        path = folder / f"{name}.csv"
        path.write_text(path.read_text().replace("red", "orange"))
    with pytest.raises(ValueError, match=r"not those of the model.*orange, red"):
        evaluated([run], split, FIVE)
    assert not run.svm.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ViewSettings()),
        ("--views 10", ViewSettings(count=10, source="features")),
        ("--svm", ViewSettings(source="features", svm=True)),
        ("--views 5 --views_from image", ViewSettings(count=5)),
        (
            "--scales 512 640 --svm --feature x",
            ViewSettings((512, 640), 1, "features", True, "x"),
        ),
    ],
)
def test_several_views_come_from_features_unless_told_otherwise(flags, expected):
    parser = argparse.ArgumentParser()
    evaluation_flags.add_arguments(parser)
    views, _ = evaluation_flags.from_arguments(parser.parse_args(flags.split()))
    assert views == expected


def test_a_feature_that_nothing_is_to_see_is_refused():
    parser = argparse.ArgumentParser()
    evaluation_flags.add_arguments(parser)
    with pytest.raises(ValueError, match=r"Expected --svm with it.*--feature z"):
        evaluation_flags.from_arguments(parser.parse_args(["--feature", "z"]))


@pytest.mark.parametrize(
    ("count", "views"),
    [(2, ViewSettings()), (1, ViewSettings(count=10)), (1, ViewSettings(svm=True))],
)
def test_a_saved_model_looks_in_its_own_way_only(count, views):
    with pytest.raises(ValueError, match="A SavedModel looks as it was exported"):
        infer_split.infer_exported_models([None] * count, None, SETTINGS, views)
