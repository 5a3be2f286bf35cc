"""Tests of training in two steps: resuming, initial weights, precision and XLA."""

import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as framework

from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.storage import atomic_files
from ram_tf.training import checkpoints, two_steps
from tests.support.h5_arrays import arrays
from tests.support.paths import ROOT
from tests.support.small_runs import FLAGS, small_config, train_run
from tests.support.small_settings import BY_CONTENT

FIT = ROOT / "scripts" / "fit.py"


def fit_command(data_dir, folder, *flags, model="rdar"):
    settings = {
        **FLAGS,
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("rdar", ()),
        ("rarl", ()),
        ("rdar", flags_of(BY_CONTENT)),
    ],
)
def test_a_killed_and_resumed_run_ends_with_the_weights_of_an_undisturbed_one(
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


@pytest.fixture(scope="module")
def undisturbed(squares, tmp_path_factory):
    """A run that nothing has ended, with six steps an epoch, and its model."""
    settings = small_config(squares, dropout=0.3, ema=0.9, batch_size=6)
    run, _, model = train_run(tmp_path_factory.mktemp("undisturbed"), settings)
    return run, model


def copy_step_1(undisturbed, folder, settings):
    """Writes a run with other settings whose step 1 is that of the undisturbed run."""
    run, _ = undisturbed
    later = shutil.ignore_patterns("step2", run.model_weights.name)
    shutil.copytree(run.folder, folder, ignore=later)
    with atomic_files.write_with_checksum(folder / "config.json") as temporary:
        temporary.write_text(settings.to_json(run.label_names))
    return folder


def require_the_same_weights(model, undisturbed):
    pairs = zip(model.weights, undisturbed[1].weights, strict=True)
    for weight, expected in pairs:
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


def require_the_same_histories(run, undisturbed):
    for step in ("step1", "step2"):
        history, expected = (
            (each.folder / step / "history.csv").read_text()
            for each in (run, undisturbed[0])
        )
        assert history == expected


def test_a_step_resumed_after_one_epoch_ends_with_the_weights_of_an_undisturbed_one(
    undisturbed, tmp_path, monkeypatch
):
    settings = undisturbed[0].config
    end_of_epoch, ended = checkpoints.ValidateAndCheckpoint.on_epoch_end, []

    def interrupted_once(validation, epoch, logs=None):
        end_of_epoch(validation, epoch, logs)
        ended.append((validation.checkpoint.parent.name, epoch))
        if ended[-1] == ("step2", 0):
            raise RuntimeError("interrupted")

    monkeypatch.setattr(
        checkpoints.ValidateAndCheckpoint, "on_epoch_end", interrupted_once
    )
    folder = copy_step_1(undisturbed, tmp_path / "run", settings)
    with pytest.raises(RuntimeError, match="interrupted"):
        train_run(folder, settings, resume=True)
    *_, model = train_run(folder, settings, resume=True)
    # No epoch was trained twice.
    assert ended == [("step2", 0), ("step2", 1)]
    require_the_same_weights(model, undisturbed)


def test_a_resumed_run_keeps_the_best_epoch_of_before(
    squares, tmp_path, monkeypatch, capsys
):
    # With this rate the second epoch is far worse than the first.
    settings = small_config(
        squares, select_by="loss", learning_rate=3.0, pooled_epochs=1
    )
    end_of_epoch = checkpoints.ValidateAndCheckpoint.on_epoch_end

    def interrupted(validation, epoch, logs=None):
        end_of_epoch(validation, epoch, logs)
        if validation.checkpoint.parent.name == "step2":
            raise RuntimeError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ValidateAndCheckpoint, "on_epoch_end", interrupted)
        with pytest.raises(RuntimeError, match="interrupted"):
            train_run(tmp_path, settings)
    train_run(tmp_path, settings, resume=True)
    printed = capsys.readouterr().out
    assert "step2: best validation at epoch 1, of 2 epochs" in printed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),  # on a CPU, which has all operations
        ({"deterministic": "no"}, False),
        ({"jit_compile": True}, False),
        ({"deterministic": "yes"}, True),
    ],
)
def test_training_is_deterministic_where_it_can_be(squares, changes, expected):
    if tf.config.list_physical_devices("GPU") and not changes:
        pytest.skip("a GPU lacks some operations")
    framework.disable_op_determinism()
    with two_steps.determinism(small_config(squares, **changes)):
        assert framework.is_op_determinism_enabled() is expected


def test_an_operation_without_a_deterministic_form_is_named(squares):
    message = "A deterministic GPU implementation of DepthwiseConv2dNative is missing."
    with (
        pytest.raises(ValueError, match=r"--deterministic no.*DepthwiseConv2dNative"),
        two_steps.determinism(small_config(squares)),
    ):
        raise tf.errors.UnimplementedError(None, None, message)


def killed(*_):
    raise RuntimeError("killed")


def terminated(*_):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("end", "error", "minutes", "done"),
    [
        # The signal lets the running step end, and then a checkpoint is written.
        (terminated, SystemExit, 10, 3),
        # A run that is killed has what was last written, here after each step.
        (killed, RuntimeError, 1e-9, 2),
    ],
)
def test_a_run_ended_within_an_epoch_ends_with_the_weights_of_an_undisturbed_one(
    undisturbed, tmp_path, monkeypatch, capsys, end, error, minutes, done
):
    settings = undisturbed[0].config.replace(checkpoint_minutes=minutes)
    end_of_step = checkpoints.ValidateAndCheckpoint.on_train_batch_end

    def ending(validation, batch, logs=None):
        in_step2 = validation.checkpoint.parent.name == "step2"
        if in_step2 and validation.epoch == 1 and batch == 2:
            end()
        end_of_step(validation, batch, logs)

    folder = copy_step_1(undisturbed, tmp_path / "run", settings)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ValidateAndCheckpoint, "on_train_batch_end", ending)
        with pytest.raises(error) as raised:
            train_run(folder, settings, resume=True)
    if error is SystemExit:
        assert raised.value.code == 143
    run, _, model = train_run(folder, settings, resume=True)
    assert (
        f"1 of 2 epochs done, and {done} steps of the next" in capsys.readouterr().out
    )
    require_the_same_weights(model, undisturbed)
    require_the_same_histories(run, undisturbed)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (terminated, SystemExit),
        pytest.param(killed, RuntimeError, marks=pytest.mark.slow),
    ],
)
def test_a_run_ended_after_the_last_step_of_an_epoch_trains_no_step_twice(
    undisturbed, tmp_path, monkeypatch, end, error
):
    settings = undisturbed[0].config.replace(checkpoint_minutes=1e-9)
    end_of_epoch = checkpoints.ValidateAndCheckpoint.on_epoch_end

    def ending(validation, epoch, logs=None):
        end()
        end_of_epoch(validation, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ValidateAndCheckpoint, "on_epoch_end", ending)
        with pytest.raises(error):
            train_run(tmp_path / "run", settings)
    run = train_run(tmp_path / "run", settings, resume=True)[0]
    require_the_same_histories(run, undisturbed)


def test_a_run_whose_images_have_changed_is_not_resumed(squares, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(squares, data)
    (data / "val.csv").rename(data / "test.csv")  # a tenth becomes the validation split
    settings = small_config(data)
    splits = run_splits.load(settings)
    run = Run.start(folder, settings, splits.train.label_names)
    two_steps.train_pooled(run, *splits[:2])
    shutil.copy(data / "train0.png", data / "new.png")
    with (data / "train.csv").open("a") as file:
        file.write("new.png,red\n")
    changed = run_splits.load(settings)
    assert set(changed.selection.names) & set(splits.train.names)  # a leak
    run = Run.start(folder, settings, splits.train.label_names, resume=True)
    with pytest.raises(ValueError, match="images and labels that it began with"):
        two_steps.train(run, *changed[:2])
    assert not (folder / "step2").exists()


@pytest.mark.slow
def test_step_2_starts_from_the_backbone_of_step_1(squares, tmp_path):
    settings = small_config(squares, backbone_rate=0.0)
    _, pooled, model = train_run(tmp_path, settings)
    before, after = pooled.backbone.get_weights(), model.backbone.get_weights()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_policy_and_baseline_are_trained_at_the_localization_rate(squares, tmp_path):
    settings = small_config(squares, model="rarl", steps=2)
    assert settings.training.localization_rate > 0
    for rate, changes in ((settings.training.localization_rate, True), (0.0, False)):
        folder = tmp_path / str(rate)
        *_, model = train_run(folder, settings.replace(localization_rate=rate))
        kernel, bias = model.attention.theta_variables
        policy_changed = kernel.numpy().any() or bias.numpy().any()
        baseline = model.attention.baseline.bias.numpy()  # 0.5 at the start
        assert (policy_changed, *(baseline != 0.5)) == (changes, changes)


@pytest.mark.parametrize("units", [9, pytest.param(13, marks=pytest.mark.slow)])
def test_a_low_rank_start_of_step_2_is_reported(squares, tmp_path, capsys, units):
    settings = small_config(
        squares,
        head_start="pooled",
        pooling="max",
        region_pooling="max",
        units=units,
        pooled_epochs=1,
        epochs=1,
    )
    train_run(tmp_path, settings)
    expected = "with 9 units, training starts from a rank-2 approximation of step 1's "
    expected += "kernel for 3 labels; --units 13 keeps the whole kernel"
    assert (expected in capsys.readouterr().out) == (units == 9)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_to_finite_weights(squares, tmp_path, precision):
    _, _, model = train_run(tmp_path, small_config(squares, precision=precision))
    assert keras.config.dtype_policy().name == "float32"
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.slow
def test_training_compiles_with_xla(squares, tmp_path):
    # In another process, because this one may have deterministic ops, without XLA.
    command = fit_command(squares, tmp_path, "--jit_compile")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # to log compilation
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "doesn't support `jit_compile" not in done.stderr
    assert "Compiled cluster using XLA" in done.stderr
