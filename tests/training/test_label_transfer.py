"""Tests of runs that start from an earlier model whose labels are others."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from ram_tf.runs import run_models
from ram_tf.runs.origin import Origin
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.serving.formats.export import export
from ram_tf.storage import short_floats
from ram_tf.training import checkpoints, label_transfer, linear_probe
from tests.support.small_runs import small_config, train_run
from tests.support.small_settings import BY_CONTENT

LABELS = ("blue", "green", "red")
NEW = ("green", "red", "yellow")
COLUMNS = {0: 1, 1: 2}


@pytest.fixture(scope="module")
def earlier(squares, tmp_path_factory):
    """A finished run, with both steps trained."""
    settings = small_config(squares, epochs=1, learning_rate=0.01)
    return train_run(tmp_path_factory.mktemp("earlier") / "run", settings)[0]


@pytest.fixture(scope="module")
def yellow(squares, tmp_path_factory):
    """The images of `squares` in another folder, with "blue" renamed."""
    folder = tmp_path_factory.mktemp("yellow") / "data"
    shutil.copytree(squares, folder)
    for path in (*folder.glob("*.csv"), folder / "boxes.json"):
        path.write_text(path.read_text().replace("blue", "yellow"))
    return folder


def images(count=4):
    shape = (count, 32, 32, 3)
    return np.random.default_rng(5).uniform(0, 255, shape).astype("float32")


def new_run(folder, data, origin, **changes):
    """A new run on other labels, its training split and its step 1 before training."""
    settings = small_config(data, start_from=str(origin), **changes)
    split = run_splits.load(settings).train
    run = Run(folder, settings, split.label_names)
    keras.utils.set_random_seed(0)
    return run, split, run_models.build_pooled(run, settings.model.pooling)


def test_step_1_begins_with_the_earlier_scores_of_shared_labels(
    earlier, yellow, tmp_path, capsys
):
    run, split, pooled = new_run(tmp_path, yellow, earlier.folder)
    fresh_kernel, fresh_bias = pooled.classifier.get_weights()
    label_transfer.start_pooled(pooled, split, run.config)
    assert split.label_names == NEW
    scores = pooled(images())["scores"].numpy()
    expected = run_models.load_pooled(earlier)(images())["scores"].numpy()
    for own, other in COLUMNS.items():
        np.testing.assert_allclose(scores[:, own], expected[:, other], atol=1e-5)
    kernel, bias = pooled.classifier.get_weights()
    np.testing.assert_array_equal(kernel[:, 2], fresh_kernel[:, 2])
    assert bias[2] == fresh_bias[2]
    told = "2 of 3 labels are taken over; 1 new: yellow"
    assert told in capsys.readouterr().out


def test_labels_are_matched_by_name_in_any_order():
    found = label_transfer.shared_columns(("a", "b", "c", "d"), ("d", "x", "b"))
    assert found == {1: 2, 3: 0}


def test_new_labels_begin_with_a_probe_of_the_earlier_backbone(
    earlier, yellow, tmp_path
):
    run, split, pooled = new_run(tmp_path, yellow, earlier.folder, probe_cost=1.0)
    label_transfer.start_pooled(pooled, split, run.config)
    kernel, _ = pooled.classifier.get_weights()
    old = run_models.load_pooled(earlier)
    before, _ = old.classifier.get_weights()
    np.testing.assert_array_equal(kernel[:, :2], before[:, 1:])
    linear_probe.start(old, split, run.config)
    probed, _ = old.classifier.get_weights()
    np.testing.assert_allclose(kernel[:, 2], probed[:, 2], atol=1e-6)


def test_step_2_takes_over_the_attention_and_the_columns_of_shared_labels(
    earlier, yellow, tmp_path
):
    run, split, pooled = new_run(tmp_path, yellow, earlier.folder)
    model = run_models.build_attention(run, pooled)
    fresh = model.attention.region_lstm.classifier.get_weights()[0]
    label_transfer.start_attention(model, split, run.config)
    expected = run_models.load_attention(earlier)
    model.backbone.set_weights(expected.backbone.get_weights())
    scores, wanted = (m(images())["scores"].numpy() for m in (model, expected))
    np.testing.assert_allclose(scores[:, :2], wanted[:, 1:], atol=1e-5)
    kernel = model.attention.region_lstm.classifier.get_weights()[0]
    np.testing.assert_array_equal(kernel[:, 2], fresh[:, 2])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"units": 20}, "--units 20 (there 16)"), ({"starts": "anchors"}, "--starts")],
)
def test_step_2_takes_nothing_over_from_another_kind_of_attention(
    earlier, yellow, tmp_path, capsys, changes, reason
):
    run, split, pooled = new_run(tmp_path, yellow, earlier.folder, **changes)
    model = run_models.build_attention(run, pooled)
    before = model.get_weights()
    label_transfer.start_attention(model, split, run.config)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert reason in capsys.readouterr().out


def exported(folder, data, weight_bits=32, **changes):
    """A run with initial weights, and its SavedModel's version folder."""
    settings = small_config(data, **changes)
    run = Run.start(folder / "content", settings, LABELS)
    pooled = run_models.build_pooled(run, "average")
    rng = np.random.default_rng(1)
    for variable in pooled.classifier.weights:
        variable.assign(rng.normal(0, 1, variable.shape))
    pooled.save_weights(run.pooled_weights)
    model = run_models.build_attention(run, pooled)
    model.save_weights(run.model_weights)
    view, saved = run_models.served_view(run, model), folder / "saved"
    return run, export(view, run, saved, weight_bits=weight_bits)


@pytest.mark.parametrize("weight_bits", [32, pytest.param(16, marks=pytest.mark.slow)])
def test_a_saved_model_gives_the_scores_of_its_run(
    squares, yellow, tmp_path, monkeypatch, weight_bits
):
    # So that a small network has weights of 16 bits, too.
    monkeypatch.setattr(short_floats, "SMALLEST_SIZE", 64)
    changes = {**BY_CONTENT, "probe_cost": 0.0}
    earlier, version = exported(tmp_path, squares, weight_bits, **changes)
    tolerance = 1e-5 if weight_bits == 32 else 2e-3
    expected = run_models.load_pooled(earlier)(images())["scores"].numpy()
    # By its version's folder, and by their parent.
    for place in (version, version.parent):
        run, split, pooled = new_run(tmp_path / "new", yellow, place, **changes)
        assert Origin.of_new_run(run.folder, run.config).label_names == LABELS
        label_transfer.start_pooled(pooled, split, run.config)
        scores = pooled(images())["scores"].numpy()
        np.testing.assert_allclose(scores[:, :2], expected[:, 1:], atol=tolerance)
    # Another network's variables are not taken for its own.
    config = run.config.replace(start_from=str(version))
    backbone = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Dense(128)])
    with pytest.raises(ValueError, match="variables are not known"):
        Origin.open(config.model.start_from).pooled_weights(backbone)
    data = next((version / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:-8] + bytes(8))
    with pytest.raises(ValueError, match="changed since it was written"):
        label_transfer.start_pooled(pooled, split, config)


def test_a_saved_model_without_a_classifier_of_images_is_refused(squares, tmp_path):
    _, version = exported(tmp_path, squares)
    with pytest.raises(ValueError, match="Expected the folder of its run, or a"):
        Origin.open(version)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"backbone": "vgg16"}, "Expected --backbone small, as in"),
        ({"pooling": "best"}, "Expected --pooling average, as in"),
        ({"pooled_units": 8}, "Expected --pooled_units 0, as in"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_training(
    earlier, squares, tmp_path, changes, expected
):
    settings = small_config(squares, start_from=str(earlier.folder), **changes)
    with pytest.raises(ValueError, match=expected):
        Origin.of_new_run(tmp_path, settings)


def test_a_missing_model_is_refused(squares, tmp_path):
    settings = small_config(squares, start_from=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"no model to start from.*nowhere"):
        Origin.of_new_run(tmp_path, settings)


def test_images_that_the_earlier_model_was_trained_on_are_not_tested_on(
    earlier, squares, yellow, tmp_path, capsys
):
    origin = Origin.open(earlier.folder)
    settings = small_config(squares)
    splits = run_splits.load(settings)
    exchanged = splits._replace(selection=splits.train.take([]), report=splits.train)
    with pytest.raises(ValueError, match=r"Received: 36 of 36, such as train0\.png"):
        origin.check_unseen(exchanged, settings)
    # It was validated on the same images, which may choose an epoch again.
    origin.check_unseen(splits._replace(report=splits.report.take([])), settings)
    capsys.readouterr()
    # The same names in another folder may be other pictures.
    origin.check_unseen(exchanged, small_config(yellow))
    assert "if they are the same pictures" in capsys.readouterr().err
    run = Run(tmp_path, settings, NEW)
    run.record_training_images(*splits[:2], origin.seen)
    other = Run(tmp_path, small_config(yellow), NEW)
    elsewhere = dataclasses.replace(splits.train, name="elsewhere")
    for each in (run, other):
        with pytest.raises(ValueError, match="36 of the split elsewhere"):
            each.check_not_trained_on(elsewhere, settings)


@pytest.mark.slow
def test_a_run_resumes_without_the_model_that_step_1_has_started_from(
    earlier, yellow, tmp_path, monkeypatch
):
    origin = tmp_path / "origin"
    shutil.copytree(earlier.folder, origin)
    settings = small_config(
        yellow, start_from=str(origin), head_start="pooled", region_pooling="average"
    )
    undisturbed = train_run(tmp_path / "undisturbed", settings)[-1]
    end_of_epoch = checkpoints.ValidateAndCheckpoint.on_epoch_end

    def interrupted(validation, epoch, logs=None):
        end_of_epoch(validation, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ValidateAndCheckpoint, "on_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(tmp_path / "killed", settings)
    shutil.rmtree(origin)
    run, _, model = train_run(tmp_path / "killed", settings, resume=True)
    for one, other in zip(model.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert run.config.model.start_from == str(origin)
    (seen,) = json.loads((run.folder / "images.json").read_text())["seen"]
    assert (len(seen["train"]), len(seen["selection"])) == (36, 4)
