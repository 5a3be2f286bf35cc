"""Tests of validation, the best weights and checkpoints."""

import contextlib
import csv
import io
import json
import shutil

import keras
import numpy as np
import pytest

from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.training import checkpoints
from ram_tf.training.batches import TrainingBatches
from ram_tf.training.optimizer import compile_model
from tests.support.h5_arrays import arrays
from tests.support.small_runs import last_epoch, small_config, train_run
from tests.support.small_settings import FROM_STEP_1


@pytest.fixture(scope="module")
def rdar(squares, tmp_path_factory):
    """A finished run of RDAR, and its model."""
    run, _, model = train_run(tmp_path_factory.mktemp("rdar"), small_config(squares))
    return run, model


def resumed(run, folder):
    """Resumes a run in another folder, and returns its attention model."""
    return train_run(folder, run.config, resume=True)[-1]


@pytest.fixture
def killed(rdar, tmp_path):
    """The folder of a run that was killed after its last checkpoint."""
    run, _ = rdar
    folder = shutil.copytree(run.folder, tmp_path / "killed")
    (folder / run.model_weights.name).unlink()
    return folder


def test_history_has_the_terms_of_the_loss_and_the_validation_map(rdar):
    run, _ = rdar
    row = last_epoch(run)
    assert {"epoch", "loss", "classification", "localization", "val_mAP"} <= set(row)
    assert row["epoch"] == 2
    assert row["loss"] == pytest.approx(row["classification"] + row["localization"])


def test_the_rate_falls_after_two_thirds_of_the_epochs(rdar):
    run, _ = rdar
    assert run.config.training.schedule == "step"
    with (run.folder / "step2" / "history.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    # After the first of two epochs it is the initial one, after the second a tenth.
    assert rates == pytest.approx([1e-3, 1e-4])


@pytest.fixture(scope="module")
def worse(squares, tmp_path_factory):
    """A run whose first epoch of step 2 is the best, its model, and what it printed."""
    # With this rate later epochs are far worse.
    settings = small_config(
        squares,
        pooled_epochs=1,
        select_by="loss",
        learning_rate=3.0,
        epochs=6,
        patience=2,
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run, _, model = train_run(tmp_path_factory.mktemp("worse"), settings)
    return run, model, printed.getvalue()


def test_the_weights_of_the_best_epoch_are_kept_and_the_epoch_is_named(worse):
    run, model, printed = worse
    history = (run.folder / "step2" / "history.csv").read_text().splitlines()
    column = history[0].split(",").index("val_loss")
    losses = [float(line.split(",")[column]) for line in history[1:]]
    splits = run_splits.load(run.config)
    validation = checkpoints.ValidateAndCheckpoint(
        run.folder, model, run.config, splits.selection, batches=None
    )
    assert validation._validate()["val_loss"] == pytest.approx(min(losses), rel=1e-5)
    assert losses[-1] != min(losses)
    best = losses.index(min(losses)) + 1
    assert f"step2: best validation at epoch {best}, of {len(losses)} epochs" in printed


def test_early_stopping_waits_for_patience_epochs(worse):
    run, *_ = worse
    with np.load(run.folder / "step2" / "checkpoint.npz") as saved:
        state = json.loads(str(saved["state"]))
    assert state["finished"]
    assert len(state["history"]) < run.config.training.epochs
    assert state["waited"] == run.config.training.patience == 2


def test_an_equal_validation_is_no_better(squares, tmp_path):
    settings = small_config(squares)
    splits = run_splits.load(settings)
    run = Run(tmp_path, settings, splits.train.label_names)
    model = run_models.build_pooled(run, "max")
    validation = checkpoints.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches=None
    )
    validation.validate_start()
    validation.validate_start()
    assert validation.waited == 1


def test_the_initial_weights_are_kept_if_no_epoch_is_better(squares, tmp_path, capsys):
    # With this rate every epoch is worse than the start from step 1.
    settings = small_config(
        squares, **FROM_STEP_1, pooled_epochs=1, learning_rate=0.3, select_by="loss"
    )
    train_run(tmp_path, settings)
    assert "step2: best validation before the first epoch, of 2 epochs" in (
        capsys.readouterr().out
    )


def test_the_weights_that_are_kept_are_the_moving_average_of_the_steps(
    squares, tmp_path
):
    settings = small_config(squares, ema=0.75)
    splits = run_splits.load(settings)
    model = run_models.build_pooled(
        Run(tmp_path, settings, splits.train.label_names),
        "max",
    )
    compile_model(model, settings, 1e-3, 2)
    batches = TrainingBatches(splits.train, settings.training.seed, 18)
    validation = checkpoints.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches
    )
    steps = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
    )
    images = np.random.default_rng(0).uniform(0, 255, (36, 32, 32, 3))
    labels = splits.train.labels[:36]
    model.fit(images, labels, batch_size=18, callbacks=[record, validation], verbose=0)
    kept = arrays(validation.best_weights)
    for first, second in zip(*steps, strict=True):
        expected = 0.75 * first + 0.25 * second
        assert any(
            each.shape == expected.shape and np.allclose(each, expected, atol=1e-6)
            for each in kept.values()
        )
    assert max(abs(a - b).max() for a, b in zip(*steps, strict=True)) > 1e-4


def test_validation_has_no_dropout(squares, tmp_path):
    settings = small_config(squares, dropout=0.5)
    splits = run_splits.load(settings)
    run = Run(tmp_path, settings, splits.train.label_names)
    model = run_models.build_pooled(run, "max")
    validation = checkpoints.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches=None
    )
    first, again = (validation._validate()["val_loss"] for _ in range(2))
    assert first == again
    images = np.concatenate([batch for (batch,) in validation.inputs])
    losses = [
        float(model.objective.terms(splits.selection.labels, outputs)["classification"])
        for outputs in (model(images), model(images, training=True))
    ]
    assert first == pytest.approx(losses[0], rel=1e-5)
    assert first != pytest.approx(losses[1], rel=1e-3)


def test_an_update_that_makes_the_validation_loss_not_finite_names_its_images(
    squares, tmp_path
):
    settings = small_config(squares, pooled_learning_rate=1e38, batch_size=40)
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 1, images .*\.png"):
        train_run(tmp_path, settings)
    assert not (tmp_path / "step1" / "checkpoint.npz").exists()


def test_a_run_killed_after_the_last_epoch_of_a_step_keeps_its_best_weights(
    rdar, killed
):
    run, model = rdar
    again = resumed(run, killed)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_are_written_without_the_optimizer(rdar):
    run, _ = rdar
    assert not any("optimizer" in name for name in arrays(run.model_weights))


def test_a_truncated_checkpoint_is_refused(rdar, killed):
    run, _ = rdar
    checkpoint = killed / "step2" / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    with pytest.raises(ValueError, match="checkpoint cannot be used"):
        resumed(run, killed)
