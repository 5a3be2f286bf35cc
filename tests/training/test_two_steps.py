import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

from ram_tf.data.drawing import colour
from ram_tf.runs import run_models, run_splits
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from ram_tf.training import callbacks as progress_module
from ram_tf.training import two_steps
from tests.support.full_disk import full_above
from tests.support.h5_arrays import arrays
from tests.support.paths import ROOT
from tests.support.small_settings import BY_CONTENT

FIT = ROOT / "scripts" / "fit.py"


SMALL = {
    "dataset": "csv",
    "backbone": "small",
    "weights": "none",
    "image_size": 40,
    "crop_margin": 8,
    "region_size": 4,
    "regions": 2,
    "units": 16,
    "loss": "bce",
    "batch_size": 8,
    "pooled_epochs": 2,
    "epochs": 2,
    "pooled_learning_rate": 1e-3,
    "learning_rate": 1e-3,
}


def fit_command(data_dir, folder, *flags, model="rdar"):
    settings = {
        **SMALL,
        "model": model,
        "data_dir": data_dir,
        "output_dir": folder,
        "saved_models": folder / "saved",
        "dropout": 0.3,
        "ema": 0.9,
        "epochs": 3,
    }
    if model == "rarl":
        settings["steps"] = settings.pop("regions")
    return [sys.executable, str(FIT), *flags_of(settings), *flags]


def flags_of(settings):
    return [f"--{name}={value}" for name, value in settings.items()]


def small_config(data_dir, **changes):
    return Config.of(**{**SMALL, "data_dir": str(data_dir), **changes})


def trained(folder, settings, resume=False):
    splits = run_splits.load(settings)
    run = Run.start(folder, settings, splits.train.label_names, resume=resume)
    return run, *two_steps.train(run, splits.train, splits.selection)


@pytest.fixture(scope="module")
def rdar(squares, tmp_path_factory):
    """A run that has ended, and its model."""
    run, _, model = trained(tmp_path_factory.mktemp("rdar"), small_config(squares))
    return run, model


@pytest.fixture(scope="module")
def rarl(squares, tmp_path_factory):
    """The same of RARL, which looks twice."""
    settings = small_config(squares, model="rarl", steps=2)
    run, _, model = trained(tmp_path_factory.mktemp("rarl"), settings)
    return run, model


def resumed(run, folder):
    """What the command of a run that lies in a folder does once more."""
    return trained(folder, run.config, resume=True)[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("rdar", ()),
        ("rarl", ()),
        ("rdar", flags_of(BY_CONTENT)),
    ],
)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    squares, tmp_path, model, flags
):
    def fit_model(folder, *more):
        return fit_command(squares, folder, *flags, *more, model=model)

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run(fit_model(undisturbed), check=True, capture_output=True)
    kills = 0
    for awaited in ("step1/checkpoint.npz", "step2/checkpoint.npz"):
        process = subprocess.Popen(
            fit_model(killed, "--resume"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (killed / awaited).exists() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    subprocess.run(fit_model(killed, "--resume"), check=True, capture_output=True)

    assert kills == 2
    for name in ("pooled.weights.h5", "model.weights.h5"):
        expected, resumed = arrays(undisturbed / name), arrays(killed / name)
        assert expected.keys() == resumed.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(resumed[key], value, err_msg=key)


def test_an_interrupted_step_ends_with_the_weights_of_an_undisturbed_one(
    squares, tmp_path, monkeypatch
):
    settings = small_config(squares, dropout=0.3, ema=0.9)
    _, _, undisturbed = trained(tmp_path / "undisturbed", settings)
    end_of_epoch, ended = progress_module.ValidateAndCheckpoint.on_epoch_end, []

    def interrupted_once(progress, epoch, logs=None):
        end_of_epoch(progress, epoch, logs)
        ended.append((progress.checkpoint.parent.name, epoch))
        if ended[-1] == ("step2", 0):
            raise RuntimeError("interrupted")

    monkeypatch.setattr(
        progress_module.ValidateAndCheckpoint, "on_epoch_end", interrupted_once
    )
    with pytest.raises(RuntimeError, match="interrupted"):
        trained(tmp_path / "run", settings)
    *_, model = trained(tmp_path / "run", settings, resume=True)
    # No epoch was trained twice.
    assert ended == [(f"step{step}", epoch) for step in (1, 2) for epoch in (0, 1)]
    pairs = zip(model.weights, undisturbed.weights, strict=True)
    for weight, expected in pairs:
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


def test_step_2_starts_from_the_backbone_of_step_1(squares, tmp_path):
    settings = small_config(squares, backbone_rate=0.0)
    _, pooled, model = trained(tmp_path, settings)
    before, after = pooled.backbone.get_weights(), model.backbone.get_weights()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_whose_images_have_changed_is_not_resumed(squares, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(squares, data)
    (data / "val.csv").rename(data / "test.csv")  # a tenth is held back to select by
    settings = small_config(data)
    splits = run_splits.load(settings)
    run = Run.start(folder, settings, splits.train.label_names)
    two_steps.train_pooled(run, *splits[:2])
    shutil.copy(data / "train0.png", data / "new.png")
    with (data / "train.csv").open("a") as file:
        file.write("new.png,red\n")
    changed = run_splits.load(settings)
    assert set(changed.selection.names) & set(splits.train.names)  # would leak
    run = Run.start(folder, settings, splits.train.label_names, resume=True)
    with pytest.raises(ValueError, match="images and labels that it began with"):
        two_steps.train(run, *changed[:2])
    assert not (folder / "step2").exists()


@pytest.mark.slow
def test_policy_and_baseline_learn_at_the_rate_of_localization(rarl, tmp_path):
    run, model = rarl
    assert run.config.training.localization_rate > 0
    settings = run.config.replace(localization_rate=0.0)
    *_, still = trained(tmp_path, settings)
    for each, learns in ((model, True), (still, False)):
        kernel, bias = each.attention.theta_variables
        moved = kernel.numpy().any() or bias.numpy().any()
        expected = each.attention.baseline.bias.numpy()  # 0.5 at the start
        assert (moved, *(expected != 0.5)) == (learns, learns)


def last_epoch(run):
    """The figures of the last epoch of step 2, by name."""
    lines = (run.folder / "step2" / "history.csv").read_text().splitlines()
    return dict(zip(lines[0].split(","), map(float, lines[-1].split(",")), strict=True))


def test_history_has_the_losses_parts_and_validation_map_of_each_epoch(rdar):
    run, _ = rdar
    row = last_epoch(run)
    assert {"epoch", "loss", "classification", "localization", "val_mAP"} <= set(row)
    assert row["epoch"] == 2
    assert row["loss"] == pytest.approx(row["classification"] + row["localization"])


def summaries(folder):
    """The first tensor of each name that TensorBoard finds in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["tensors"]
    return {tag: events.Tensors(tag)[0].tensor_proto for tag in tags}


@pytest.mark.parametrize("model", ["rdar", "rarl"])
def test_tensorboard_shows_where_each_step_looks(request, model):
    run, _ = request.getfixturevalue(model)
    shown = summaries(run.folder / "step2" / "logs" / "validation")
    assert "regions/0" in shown
    width, height, _ = shown["locations"].string_val
    # Two looks of both models, 192 pixels each and 4 between them.
    assert (int(width), int(height)) == (388, 192)


def test_tensorboard_shows_a_region_in_the_colour_of_its_step(rarl, tmp_path):
    run, model = rarl
    selection = run_splits.load(run.config).selection
    validated = progress_module.ValidateAndCheckpoint(
        tmp_path, model, run.config, selection, None
    )
    validated.consider_start()
    # One region of the first step and two of the second speak for the three labels.
    validated.outputs["probabilities"][:] = 1
    validated.outputs["region_scores"][:, [1, 10, 17], [0, 1, 2]] = 100
    pictures = progress_module.RegionPictures(tmp_path, run, selection, validated)
    pictures.set_model(model)
    pictures.on_epoch_end(0)
    picture = summaries(tmp_path / "validation")["regions/0"].string_val[2]
    with Image.open(io.BytesIO(picture)) as opened:
        seen = {shade for _, shade in opened.convert("RGB").getcolors(2**24)}
    drawn = seen & {colour(number) for number in range(7)}
    assert drawn == {colour(0), colour(1)}


def test_tensorboard_shows_the_agents_figures(rarl):
    run, _ = rarl
    shown = summaries(run.folder / "step2" / "logs" / "train")
    names = ("reward", "advantage", "baseline_error")
    assert {f"epoch_{name}" for name in names} <= set(shown)


def test_history_of_rarl_has_the_figures_of_its_agent(rarl):
    run, model = rarl
    row = last_epoch(run)
    terms = row["classification"] + row["reinforce"] + row["baseline"]
    assert row["loss"] == pytest.approx(terms)
    assert {"reward", "advantage", "baseline_error", "val_reward"} <= set(row)
    # The validation's loss is not its reward, which is shown beside it.
    assert row["val_loss"] == row["val_classification"]
    assert model.attention.locations == "learnt"


def test_the_best_epoch_by_selection_is_kept_and_named(squares, tmp_path, capsys):
    # So high a rate that the second epoch is far worse than the first.
    settings = small_config(squares, select_by="loss", learning_rate=3.0, epochs=3)
    _, _, model = trained(tmp_path, settings)
    history = (tmp_path / "step2" / "history.csv").read_text().splitlines()
    column = history[0].split(",").index("val_loss")
    losses = [float(line.split(",")[column]) for line in history[1:]]
    splits = run_splits.load(settings)
    progress = progress_module.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches=None
    )
    assert progress._validate()["val_loss"] == pytest.approx(min(losses), rel=1e-5)
    assert losses[-1] != min(losses)
    best = losses.index(min(losses)) + 1
    assert f"step2: best by selection is epoch {best}, of 3 epochs" in (
        capsys.readouterr().out
    )


def test_a_start_that_no_epoch_betters_is_kept_and_named(squares, tmp_path, capsys):
    # From step 1's scores, with a rate at which nothing but harm is done.
    settings = small_config(
        squares,
        head_start="pooled",
        pooling="max",
        region_pooling="max",
        pooled_epochs=12,
        learning_rate=0.3,
        select_by="loss",
    )
    trained(tmp_path, settings)
    assert "step2: best by selection is the start, of 2 epochs" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("units", [9, 13])
def test_units_that_do_not_hold_all_labels_are_told(squares, tmp_path, capsys, units):
    settings = small_config(
        squares,
        head_start="pooled",
        pooling="max",
        region_pooling="max",
        units=units,
        epochs=1,
    )
    trained(tmp_path, settings)
    told = "9 units begin with a factor of rank 2 of step 1's kernel of 3 labels; "
    told += "--units 13 holds all of it"
    assert (told in capsys.readouterr().out) == (units == 9)


def test_early_stopping_waits_for_patience_epochs(squares, tmp_path):
    settings = small_config(squares, learning_rate=1e-12, epochs=6, patience=2)
    trained(tmp_path, settings)
    with np.load(tmp_path / "step2" / "checkpoint.npz") as saved:
        state = json.loads(str(saved["state"]))
    assert state["finished"]
    assert len(state["history"]) < 6
    assert state["waited"] == 2


def test_a_loss_that_is_no_number_names_step_and_images(squares, tmp_path):
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+, images .*\.png"):
        trained(tmp_path, small_config(squares, pooled_learning_rate=1e38))


def test_a_last_update_that_ends_in_no_numbers_names_its_images(squares, tmp_path):
    settings = small_config(squares, pooled_learning_rate=1e38, batch_size=40)
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 1, images .*\.png"):
        trained(tmp_path, settings)
    assert not (tmp_path / "step1" / "checkpoint.npz").exists()


def test_the_weights_that_are_kept_are_the_average_of_those_of_the_steps(
    squares, tmp_path
):
    settings = small_config(squares, ema=0.75)
    splits = run_splits.load(settings)
    model = run_models.build_pooled(
        Run(tmp_path, settings, splits.train.label_names),
        "max",
    )
    two_steps.compile_model(model, settings, 1e-3, 2)
    batches = progress_module.TrainingBatches(splits.train, settings.training.seed, 18)
    progress = progress_module.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches
    )
    steps = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
    )
    images = np.random.default_rng(0).uniform(0, 255, (36, 32, 32, 3))
    labels = splits.train.labels[:36]
    model.fit(images, labels, batch_size=18, callbacks=[record, progress], verbose=0)
    kept = arrays(progress.best_weights)
    for first, second in zip(*steps, strict=True):
        expected = 0.75 * first + 0.25 * second
        assert any(
            each.shape == expected.shape and np.allclose(each, expected, atol=1e-6)
            for each in kept.values()
        )
    assert max(abs(a - b).max() for a, b in zip(*steps, strict=True)) > 1e-4


@pytest.fixture
def killed(rdar, tmp_path):
    """The run as a kill between the last checkpoint and the final file leaves it."""
    run, _ = rdar
    folder = shutil.copytree(run.folder, tmp_path / "killed")
    (folder / run.model_weights.name).unlink()
    return folder


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


def test_a_torn_checkpoint_is_named_and_not_used(rdar, killed):
    run, _ = rdar
    checkpoint = killed / "step2" / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    with pytest.raises(ValueError, match="checkpoint cannot be used"):
        resumed(run, killed)


def test_logs_that_find_no_room_are_named(squares, tmp_path, capsys):
    settings = small_config(squares)
    splits = run_splits.load(settings)
    run = Run.start(tmp_path, settings, splits.train.label_names)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    model.compile(keras.optimizers.Adam())
    validated = progress_module.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches=None
    )
    validated.consider_start()
    pictures = progress_module.RegionPictures(
        tmp_path / "logs", run, splits.selection, validated
    )
    pictures.set_model(model)
    pictures.on_epoch_end(0)
    assert "not written" not in capsys.readouterr().err
    (events,) = (tmp_path / "logs" / "validation").iterdir()
    with full_above(events.stat().st_size):
        pictures.on_epoch_end(1)
    said = f"not written: {tmp_path / 'logs' / 'validation'} ("
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", [1e-5, 1e-5, 1e-6, 1e-6]),  # to a tenth after two thirds
        ("constant", [1e-5] * 4),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule, expected):
    optimizer = keras.optimizers.Adam(two_steps._schedule(schedule, 1e-5, 45))
    rates = []
    for step in (0, 30, 31, 44):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_to_finite_weights(squares, tmp_path, precision):
    _, _, model = trained(tmp_path, small_config(squares, precision=precision))
    assert keras.config.dtype_policy().name == "float32"
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.slow
def test_training_compiles_with_xla(squares, tmp_path):
    # A process of its own: deterministic ops, once on, stay on, and exclude XLA.
    command = fit_command(squares, tmp_path, "--jit_compile")
    told = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # that a cluster was compiled
    done = subprocess.run(
        command, env=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "doesn't support `jit_compile" not in done.stderr
    assert "Compiled cluster using XLA" in done.stderr
