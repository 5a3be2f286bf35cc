"""Trains the two steps of section 5.1: the pooled classifier, then all jointly."""

import contextlib
import dataclasses
import math

import keras
import tensorflow as tf

from ram_tf.data import progress
from ram_tf.models.attention.region_lstm import code_width
from ram_tf.models.networks import AttentionModel
from ram_tf.runs import learning_curves, run_models, weights_file
from ram_tf.runs.config import FOLDERS
from ram_tf.runs.origin import Origin
from ram_tf.storage.atomic_files import write_with_checksum
from ram_tf.training.batches import TrainingBatches
from ram_tf.training.callbacks import (
    DrawCurves,
    EpochLines,
    RegionImages,
    StopWhenNotFinite,
)
from ram_tf.training.checkpoints import ValidateAndCheckpoint
from ram_tf.training.devices import Devices, FollowChief
from ram_tf.training.optimizer import compile_model
from ram_tf.training.termination import Termination
from ram_tf.training.warm_starts import warm_starts


def train(run, train_split, validation_split, devices=None):
    """Trains the steps of a run that are not trained yet, and returns its two models.

    A run that was killed resumes from its last checkpoint and ends with the same
    weights: batches, crops and dropout depend only on seed and epoch, and the
    checkpoint holds the rest. On other devices they are nearly the same, dropout apart.
    While a step is trained, SIGTERM ends the process with status 143 after a checkpoint
    (see `Termination`).

    Args:
        run: A `Run` from `Run.start`.
        train_split: The training images, with proposals if the run uses them.
        validation_split: The images on which the best epoch is chosen.
        devices: The `Devices`, None for one. Workers need the same run and splits.

    Returns:
        The pooled classifier and the attention model with their best weights, on one
        device. None for workers other than the chief, which have no files.

    Raises:
        FloatingPointError: The loss is not finite; the message names the images.
        ConnectionError: Another worker has ended.
        ValueError: An operation of the device is not deterministic, but has to be.
    """
    settings, devices = run.config, devices or Devices()
    data = train_split, validation_split
    train_pooled(run, train_split, validation_split, devices)
    with devices.guarded(), determinism(settings):
        if not devices.broadcast(run.model_weights.exists()):
            _train_attention(run, data, devices)
    if devices.chief:
        return run_models.load_pooled(run), run_models.load_attention(run)
    print("trained; worker 1, the chief, evaluates and exports")
    return None


def _train_attention(run, data, devices):
    settings = run.config
    if devices.chief:
        _report_low_rank(settings, len(run.label_names))
    with devices.strategy.scope():
        pooled = _load_pooled(run, devices)
        keras.utils.set_random_seed(settings.training.seed)
        model = run_models.build_attention(run, pooled)
        _fit(
            run,
            "step2",
            model,
            epochs=settings.training.epochs,
            learning_rate=settings.training.learning_rate,
            data=data,
            devices=devices,
        )
    if devices.chief:
        weights_file.save(model, run.model_weights)


def _report_low_rank(settings, labels):
    rank = code_width(settings.attention.units, labels)
    linear = (
        settings.attention.head_start == "pooled" and not settings.model.pooled_units
    )
    if linear and rank < labels:
        print(
            f"step2: with {settings.attention.units} units, training starts from a "
            f"rank-{rank} approximation of step 1's kernel for {labels} labels; "
            f"--units {4 * labels + 1} keeps the whole kernel"
        )


def train_pooled(run, train_split, validation_split, devices=None):
    """Trains only step 1 of a run, unless it is trained already.

    Args:
        run: See `train`.
        train_split: See `train`.
        validation_split: See `train`.
        devices: See `train`.

    Raises:
        FloatingPointError: See `train`.
        ConnectionError: See `train`.
        FileNotFoundError: The model that the run starts from is missing.
        ValueError: The model that the run starts from has other settings; or see
            `train`.
    """
    settings, devices = run.config, devices or Devices()
    devices.check(settings)
    with devices.guarded(), determinism(settings):
        _check_same(run, (train_split, validation_split), devices)
        if devices.chief:
            origin = Origin.of_new_run(run.folder, settings)
            seen = (origin and origin.seen) or ()
            run.record_training_images(train_split, validation_split, seen)
        if devices.broadcast(run.pooled_weights.exists()):
            return
        # Step 1 processes whole images, even if step 2 uses proposals.
        data = [
            dataclasses.replace(split, proposals=None)
            for split in (train_split, validation_split)
        ]
        with devices.strategy.scope():
            pooled = _best_pooled(run, data, devices)
        if devices.chief:
            weights_file.save(pooled, run.pooled_weights)


def _best_pooled(run, data, devices):
    settings = run.config
    poolings = (
        ("average", "max")
        if settings.model.pooling == "best"
        else (settings.model.pooling,)
    )
    best = -math.inf
    for pooling in poolings:
        keras.utils.set_random_seed(settings.training.seed)
        pooled = run_models.build_pooled(run, pooling)
        name = "step1" if len(poolings) == 1 else f"step1-{pooling}"
        score = _fit(
            run,
            name,
            pooled,
            epochs=settings.training.pooled_epochs,
            learning_rate=settings.training.pooled_learning_rate,
            data=data,
            devices=devices,
        )
        if score > best:
            best, chosen, chosen_pooling = score, pooled, pooling
    if settings.model.pooling == "best" and devices.chief:
        with write_with_checksum(run.folder / "pooling.txt") as temporary:
            temporary.write_text(chosen_pooling + "\n")
    return chosen


def _check_same(run, splits, devices):
    """Raises a `ValueError` if settings or splits differ between workers."""
    if devices.workers > 1:
        # Paths may differ between machines.
        settings = run.config.replace(**dict.fromkeys(FOLDERS, ""), weights="none")
        devices.check_same("settings", settings.to_json(run.label_names))
        for split in splits:
            devices.check_same("images and labels", split.digest)


def _load_pooled(run, devices):
    """Returns step 1's classifier at every worker, read from the chief's file."""
    pooling = devices.broadcast(run.pooling if devices.chief else None)
    pooled = run_models.build_pooled(run, pooling, pretrained=False)
    if devices.chief:
        weights_file.load(pooled, run.pooled_weights)
    devices.broadcast_variables(pooled.weights)
    return pooled


def is_deterministic(settings):
    """Returns whether equal runs have equal results, see the setting."""
    chosen = settings.training.deterministic
    # Keras does not compile deterministic operations with XLA.
    on_cpu = not tf.config.list_physical_devices("GPU")
    return chosen == "yes" or (
        chosen == "auto" and on_cpu and not settings.training.jit_compile
    )


@contextlib.contextmanager
def determinism(settings):
    """Trains with operations that do not depend on the timing of threads, if set.

    Raises:
        ValueError: A device has no such operation; the message names it.
    """
    if is_deterministic(settings):
        tf.config.experimental.enable_op_determinism()
    try:
        yield
    except tf.errors.UnimplementedError as error:
        if "determinis" not in error.message.lower():
            raise
        raise ValueError(
            "An operation has no deterministic form on this device. Expected "
            "--deterministic no, with which a run is only nearly the same when it is "
            f"repeated or resumed. Received: {error.message.splitlines()[0]}"
        ) from error


def _fit(run, name, model, *, epochs, learning_rate, data, devices):
    """Trains one step and loads the best weights into the model.

    Returns:
        The best epoch's score on the validation split; larger is better.
    """
    settings = run.config
    train_split, validation_split = data
    size = devices.even_batch_size(min(settings.training.batch_size, len(train_split)))
    batches = TrainingBatches(train_split, settings.training.seed, size)
    compile_model(model, settings, learning_rate, epochs * batches.count)
    model.optimizer.build(model.trainable_variables)
    validation = ValidateAndCheckpoint(
        run.folder / name, model, settings, validation_split, batches
    )
    if devices.chief:
        _start(validation, name, train_split, epochs)
    start, steps, finished = devices.broadcast(
        (validation.epoch, validation.steps, validation.finished)
    )
    devices.broadcast_variables(validation.variables)
    if not finished and start < epochs:
        callbacks = [FollowChief(devices, validation.variables)]
        if devices.chief:
            callbacks = [*_chief_callbacks(run, name, validation), *callbacks]
        with Termination() as validation.termination:
            # Keras' epochs have the same number of steps, except for the rest of one.
            if steps:
                rest = range(start, start + 1)
                _fit_epochs(model, batches, settings, rest, steps, callbacks, devices)
                start += 1
            if start < epochs and not model.stop_training:
                whole = range(start, epochs)
                _fit_epochs(model, batches, settings, whole, 0, callbacks, devices)
    elif devices.chief:
        learning_curves.write(run)
    if devices.chief:
        weights_file.load(model, validation.best_weights)
        best = validation.best_epoch
        best = f"at epoch {best}" if best else "before the first epoch"
        print(f"{name}: best validation {best}, of {validation.epoch} epochs")
    return devices.broadcast(validation.best)


def _fit_epochs(model, batches, settings, epochs, skipped, callbacks, devices):
    """Trains a range of epochs, without the first steps that were done before."""

    def worker_pipeline(context):
        return batches.pipeline(settings, epochs, context, skipped)

    model.fit(
        devices.strategy.distribute_datasets_from_function(worker_pipeline),
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        steps_per_epoch=batches.count - skipped,
        shuffle=False,  # the pipeline shuffles
        callbacks=[StopWhenNotFinite(batches, skipped), *callbacks],
        verbose=1 if devices.chief and progress.on_terminal() else 0,
    )


def _start(validation, name, train_split, epochs):
    """Resumes a step from its checkpoint, or applies its warm starts."""
    model, settings = validation.model, validation.settings
    validation.checkpoint.parent.mkdir(exist_ok=True)
    validation.restore()
    starts = [] if validation.has_begun else warm_starts(model, settings)
    for start in starts:
        start.begin(model, train_split, settings)
    print(
        f"{name}: {type(model).__name__}, {len(train_split)} images, "
        f"{validation.epoch} of {epochs} epochs done"
        + (f", and {validation.steps} steps of the next" if validation.steps else "")
    )
    if starts:
        # A warm start may be better than every epoch, because training can overfit.
        validation.validate_start()


def _chief_callbacks(run, name, validation):
    """Returns the callbacks of the chief alone, which write files."""
    logs = run.folder / name / "logs"
    callbacks = [
        validation,
        DrawCurves(run),
        keras.callbacks.TensorBoard(logs, write_graph=False),
    ]
    if isinstance(validation.model, AttentionModel):
        callbacks.append(RegionImages(logs, run, validation.split, validation))
    if not progress.on_terminal():
        callbacks.append(EpochLines(name))
    return callbacks
