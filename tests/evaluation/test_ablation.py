"""Tests the ablation on small runs: what is trained, shared, resumed and drawn."""

import dataclasses
import json
import shutil
import statistics

import numpy as np
import pytest
from PIL import Image

from ram_tf.data.drawing import BLUE, GREEN
from ram_tf.evaluation import infer_split
from ram_tf.evaluation.papers import ablation
from ram_tf.evaluation.papers.ablation_tables import LOCATIONS, TABLE_5, table_6
from ram_tf.metrics import multi_label
from ram_tf.models import evidence_map
from ram_tf.runs import run_models, weights_file
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESETS, preset
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.serving.predictor import Predictor
from ram_tf.training import two_steps
from tests.support.small_settings import BY_CONTENT, SMALL

# One view is much faster than ten.
TABLE = TABLE_5._replace(rows=[row._replace(views=1) for row in TABLE_5.rows])


def base(squares, **changes):
    return SMALL.replace(data_dir=str(squares), **changes)


@pytest.fixture(scope="module")
def undisturbed(squares, tmp_path_factory):
    """Table 5 of small runs: the folder of the runs, and the comparison."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, ablation.compare(TABLE, base(squares), [0], folder)


@pytest.mark.parametrize("model", ["rdar", "rarl"])
@pytest.mark.parametrize("name", PRESETS)
def test_step_1_begins_from_any_preset(name, model):
    settings = Config.of(**{**preset(name, model), "model": model})
    assert not ablation._of_step_1(settings).is_rarl


def test_invalid_settings_of_a_row_are_refused_before_training(squares, tmp_path):
    with pytest.raises(ValueError, match=r"constraints .* with localization 'content'"):
        ablation.compare(TABLE_5, base(squares, **BY_CONTENT), [0], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_rows_are_separate_runs_that_differ_as_the_table_says(undisturbed):
    folder, _ = undisturbed
    null = Run.open(folder / "attention-null-40-seed0").config
    full = Run.open(folder / "attention-ASP-40-seed0").config
    assert null == full.replace(constraints="")
    assert full.loss.constraints == "ASP"


@pytest.mark.slow
def test_rows_share_one_training_of_step_1(undisturbed):
    folder, _ = undisturbed
    assert [path.parent.name for path in folder.glob("*/step1")] == ["step1-40-seed0"]
    first = folder / "step1-40-seed0" / "pooled.weights.h5"
    for name in ("null", "ASP"):
        path = folder / f"attention-{name}-40-seed0" / "pooled.weights.h5"
        assert path.read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_a_row_has_the_weights_of_a_single_run(undisturbed, tmp_path):
    folder, _ = undisturbed
    row = Run.open(folder / "attention-null-40-seed0")
    splits = run_splits.load(row.config)
    run = Run.start(tmp_path, row.config, splits.train.label_names)
    whole = two_steps.train(run, splits.train, splits.selection)
    shared = run_models.load_pooled(row), run_models.load_attention(row)
    for expected, model in zip(whole, shared, strict=True):
        for one, other in zip(expected.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_metrics_are_those_of_evaluation_in_percent(undisturbed):
    folder, compared = undisturbed
    assert json.loads((folder / "table5.json").read_text()) == compared
    for row, letters in zip(compared["rows"], ("null", "ASP"), strict=True):
        path = folder / "results" / f"attention-{letters}-40-seed0-single-crop.json"
        result = json.loads(path.read_text())
        assert result["protocol"]["views"] == 1
        for name in ("CF1", "OF1", "mAP"):
            assert row["ours"][name]["mean"] == pytest.approx(100 * result[name])
            pooled = compared["pooled"][name]["mean"]
            assert pooled == pytest.approx(100 * result["pooled"][name])


@pytest.mark.slow
def test_an_interrupted_table_resumes_with_the_interrupted_run(
    squares, undisturbed, tmp_path, monkeypatch
):
    train, begun = two_steps.train, []

    def interrupted(run, *splits):
        begun.append(run.folder.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(run, *splits)

    monkeypatch.setattr(two_steps, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablation.compare(TABLE, base(squares), [0], tmp_path)
    finished = (tmp_path / begun[0] / "model.weights.h5").stat().st_mtime_ns
    compared = ablation.compare(TABLE, base(squares), [0], tmp_path)
    # The first run was trained once, the interrupted one twice.
    assert begun == [begun[0], begun[1], begun[1]]
    assert (tmp_path / begun[0] / "model.weights.h5").stat().st_mtime_ns == finished
    assert compared == undisturbed[1]


@pytest.mark.slow
def test_finished_runs_are_neither_trained_nor_evaluated_again(
    squares, undisturbed, monkeypatch
):
    folder, compared = undisturbed
    monkeypatch.delattr(two_steps, "train")
    monkeypatch.delattr(infer_split, "evaluate_runs")
    assert ablation.compare(TABLE, base(squares), [0], folder) == compared


def inverted(name):
    """Returns a `run_splits.load` that inverts the labels of one split."""
    load = run_splits.load

    def loaded(settings):
        splits = load(settings)
        split = getattr(splits, name)
        opposite = dataclasses.replace(split, labels=1 - split.labels)
        return splits._replace(**{name: opposite})

    return loaded


@pytest.mark.slow
def test_metrics_are_computed_again_for_other_labels(
    squares, undisturbed, tmp_path, monkeypatch
):
    before, compared = undisturbed
    folder = shutil.copytree(before, tmp_path / "runs")
    monkeypatch.setattr(run_splits, "load", inverted("report"))
    rows = ablation.compare(TABLE, base(squares), [0], folder)["rows"]
    for now, then in zip(rows, compared["rows"], strict=True):
        assert now["ours"]["mAP"]["mean"] != then["ours"]["mAP"]["mean"]


@pytest.mark.slow
def test_finished_runs_of_other_labels_are_refused(squares, undisturbed, monkeypatch):
    monkeypatch.setattr(run_splits, "load", inverted("train"))
    with pytest.raises(ValueError, match="others for train"):
        ablation.compare(TABLE, base(squares), [0], undisturbed[0])


@pytest.mark.slow
def test_metrics_are_computed_again_for_other_weights(squares, undisturbed, tmp_path):
    before, compared = undisturbed
    folder = tmp_path / "runs"
    shutil.copytree(before, folder)
    run = Run.open(folder / "attention-ASP-40-seed0")
    model = run_models.load_attention(run)
    classifier = model.attention.region_lstm.classifier
    classifier.set_weights([-w for w in classifier.get_weights()])
    weights_file.save(model, run.model_weights)
    rows = ablation.compare(TABLE, base(squares), [0], folder)["rows"]
    assert rows[0] == compared["rows"][0]
    changed = rows[1]["ours"]["mAP"]["mean"]
    split = run_splits.load_report(run.config, None, run.label_names)
    scores = infer_split.infer(run_models.view(run, model), split, run.config)["scores"]
    assert changed == pytest.approx(
        100 * multi_label.mean_average_precision(split.labels, scores)
    )
    assert changed != compared["rows"][1]["ours"]["mAP"]["mean"]


@pytest.mark.slow
def test_metrics_are_computed_again_for_another_evidence_map(
    squares, undisturbed, monkeypatch
):
    folder, _ = undisturbed
    monkeypatch.setattr(evidence_map, "METHOD", "another method")
    monkeypatch.delattr(infer_split, "evaluate_runs")
    with pytest.raises(AttributeError, match="evaluate_runs"):
        ablation.compare(TABLE, base(squares), [0], folder)


@pytest.mark.slow
def test_other_settings_than_those_of_existing_runs_are_refused(squares, undisturbed):
    settings = base(squares).replace(epochs=2)
    with pytest.raises(ValueError, match=r"epochs=2 \(was 1\)"):
        ablation.compare(TABLE, settings, [0], undisturbed[0])


def test_the_deviation_is_that_of_a_sample():
    values = [0.8, 0.9, 0.7]
    spread = ablation._over_seeds(values)
    assert spread["mean"] == pytest.approx(80)
    assert spread["deviation"] == pytest.approx(100 * statistics.stdev(values))
    assert ablation._over_seeds([0.5])["deviation"] is None
    assert ablation._over_seeds([None, None])["mean"] is None


@pytest.mark.slow
def test_rows_of_table_6_have_the_scales_and_views_of_their_names(squares, tmp_path):
    # Without mirroring in training, five views replace ten.
    settings = base(squares, flip=False)
    compared = ablation.compare(table_6(40, 48), settings, [0], tmp_path)
    views = [(row["views"], row["scales"]) for row in compared["rows"]]
    assert views == [(1, [40]), (1, [48]), (5, [40]), (5, [48]), (5, [40, 48])]
    assert len(list(tmp_path.glob("*/model.weights.h5"))) == 2


@pytest.mark.slow
def test_rarl_and_rdar_share_one_step_1(squares, tmp_path):
    settings = base(squares, model="rarl", steps=1)
    compared = ablation.compare(LOCATIONS, settings, [0], tmp_path)
    first = {path.parent.name for path in tmp_path.glob("*/step1")}
    assert first == {"step1-40-seed0", "pooled-longer-40-seed0"}
    runs = {path.parent.name for path in tmp_path.glob("*/model.weights.h5")}
    names = "learnt not-rewarded random anchors".split()
    names = ["attention-ASP", *(f"rarl-{name}" for name in names)]
    assert runs == {f"{name}-40-seed0" for name in names}
    longer = Run.open(tmp_path / "pooled-longer-40-seed0").config
    assert (
        longer.training.pooled_epochs
        == settings.training.pooled_epochs + settings.training.epochs
    )
    assert set(compared["pooled_longer"]) == set(LOCATIONS.metrics)
    assert json.loads((tmp_path / "locations.json").read_text()) == compared


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    run = Run.start(tmp_path_factory.mktemp("figure"), SMALL, ("red", "green"))
    return Predictor.of(
        run_models.view(
            run,
            run_models.build_attention(
                run,
                run_models.build_pooled(run, "max"),
            ),
        ),
        run,
    )


def test_figure_5_shows_regions_in_green_next_to_proposals_in_blue(
    squares, predictor, tmp_path
):
    path = tmp_path / "new" / "figure5.png"
    images = [squares / "val0.png", squares / "val1.png"]
    ablation.draw_figure_5(predictor, images, path)
    picture = np.asarray(Image.open(path))
    quarters = np.array_split(picture, 4, axis=1)
    for quarter, ink, other in zip(
        quarters, [GREEN, BLUE] * 2, [BLUE, GREEN] * 2, strict=True
    ):
        assert (quarter == ink).all(-1).any()
        assert not (quarter == other).all(-1).any()


def test_figure_5_draws_no_box_where_edgeboxes_finds_none(predictor, tmp_path):
    image, path = tmp_path / "plain.png", tmp_path / "figure5.png"
    Image.new("RGB", (64, 64), (90, 90, 90)).save(image)
    ablation.draw_figure_5(predictor, [image], path)
    picture = np.asarray(Image.open(path))
    assert (picture == GREEN).all(-1).any()
    assert not (picture == BLUE).all(-1).any()


def test_a_file_for_figure_5_that_is_not_an_image_is_named(predictor, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"cannot be read.*text\.png"):
        ablation.draw_figure_5(predictor, [tmp_path / "text.png"], tmp_path / "f.png")
    assert not (tmp_path / "f.png").exists()
