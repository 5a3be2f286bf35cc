"""Tests of the callbacks: validation, best weights, checkpoints and TensorBoard."""

import contextlib
import csv
import io
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from ram_tf.data.drawing import colour
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.training import callbacks
from ram_tf.training.batches import TrainingBatches
from ram_tf.training.optimizer import compile_model
from tests.support.full_disk import full_above
from tests.support.h5_arrays import arrays
from tests.support.small_runs import small_config, train_run


@pytest.fixture(scope="module")
def rdar(squares, tmp_path_factory):
    """A finished run of RDAR, and its model."""
    run, _, model = train_run(tmp_path_factory.mktemp("rdar"), small_config(squares))
    return run, model


@pytest.fixture(scope="module")
def rarl(squares, tmp_path_factory):
    """A finished run of RARL with two steps, and its model."""
    settings = small_config(squares, model="rarl", steps=2)
    run, _, model = train_run(tmp_path_factory.mktemp("rarl"), settings)
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


def last_epoch(run):
    """The metrics of the last epoch of step 2, by name."""
    lines = (run.folder / "step2" / "history.csv").read_text().splitlines()
    return dict(zip(lines[0].split(","), map(float, lines[-1].split(",")), strict=True))


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


def test_history_of_rarl_has_the_metrics_of_its_agent(rarl):
    run, model = rarl
    row = last_epoch(run)
    terms = row["classification"] + row["reinforce"] + row["baseline"]
    assert row["loss"] == pytest.approx(terms)
    assert {"reward", "advantage", "baseline_error", "val_reward"} <= set(row)
    # The validation loss does not contain the reward, which is a metric.
    assert row["val_loss"] == row["val_classification"]
    assert model.attention.locations == "learnt"


def summaries(folder):
    """The first tensor of each tag that TensorBoard reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["tensors"]
    return {tag: events.Tensors(tag)[0].tensor_proto for tag in tags}


@pytest.mark.parametrize("model", ["rdar", "rarl"])
def test_tensorboard_shows_the_locations_of_each_step(request, model):
    run, _ = request.getfixturevalue(model)
    shown = summaries(run.folder / "step2" / "logs" / "validation")
    assert "regions/0" in shown
    width, height, _ = shown["locations"].string_val
    # Two steps of either model, 192 pixels each, with 4 between them.
    assert (int(width), int(height)) == (388, 192)


def test_tensorboard_shows_a_region_in_the_colour_of_its_step(rarl, tmp_path):
    run, model = rarl
    selection = run_splits.load(run.config).selection
    validation = callbacks.ValidateAndCheckpoint(
        tmp_path, model, run.config, selection, None
    )
    validation.validate_start()
    # One region of the first step and two of the second predict the three labels.
    validation.outputs["probabilities"][:] = 1
    validation.outputs["region_scores"][:, [1, 10, 17], [0, 1, 2]] = 100
    images = callbacks.RegionImages(tmp_path, run, selection, validation)
    images.set_model(model)
    images.on_epoch_end(0)
    picture = summaries(tmp_path / "validation")["regions/0"].string_val[2]
    with Image.open(io.BytesIO(picture)) as opened:
        colours = {shade for _, shade in opened.convert("RGB").getcolors(2**24)}
    drawn = colours & {colour(number) for number in range(7)}
    assert drawn == {colour(0), colour(1)}


def test_tensorboard_shows_the_metrics_of_the_agent(rarl):
    run, _ = rarl
    shown = summaries(run.folder / "step2" / "logs" / "train")
    names = ("reward", "advantage", "baseline_error")
    assert {f"epoch_{name}" for name in names} <= set(shown)


def test_logs_that_cannot_be_written_are_named(squares, tmp_path, capsys):
    settings = small_config(squares)
    splits = run_splits.load(settings)
    run = Run.start(tmp_path, settings, splits.train.label_names)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    model.compile(keras.optimizers.Adam())
    validation = callbacks.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches=None
    )
    validation.validate_start()
    images = callbacks.RegionImages(
        tmp_path / "logs", run, splits.selection, validation
    )
    images.set_model(model)
    images.on_epoch_end(0)
    assert "not written" not in capsys.readouterr().err
    (events,) = (tmp_path / "logs" / "validation").iterdir()
    with full_above(events.stat().st_size):
        images.on_epoch_end(1)
    expected = f"not written: {tmp_path / 'logs' / 'validation'} ("
    assert expected in capsys.readouterr().err


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
    validation = callbacks.ValidateAndCheckpoint(
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


def test_the_initial_weights_are_kept_if_no_epoch_is_better(squares, tmp_path, capsys):
    # With this rate every epoch is worse than the start from step 1.
    settings = small_config(
        squares,
        head_start="pooled",
        pooling="max",
        region_pooling="max",
        pooled_epochs=8,
        learning_rate=0.3,
        select_by="loss",
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
    validation = callbacks.ValidateAndCheckpoint(
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
    validation = callbacks.ValidateAndCheckpoint(
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


def test_the_error_for_a_loss_that_is_not_finite_names_step_and_images(
    squares, tmp_path
):
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+, images .*\.png"):
        train_run(tmp_path, small_config(squares, pooled_learning_rate=1e38))


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
