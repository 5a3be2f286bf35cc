"""The two steps of section 5.1: the pooled classifier, then everything jointly."""

import dataclasses
import math

import keras
import tensorflow as tf

from ram_tf.models.attention.region_lstm import code_width
from ram_tf.models.networks import AttentionModel
from ram_tf.runs import run_models, weights_file
from ram_tf.storage.atomic_files import write_with_checksum
from ram_tf.training.batches import TrainingBatches
from ram_tf.training.callbacks import (
    RegionPictures,
    StopWhenNotFinite,
    ValidateAndCheckpoint,
)
from ram_tf.training.devices import Devices, FollowChief
from ram_tf.training.optimizer import compile_model
from ram_tf.training.warm_starts import warm_starts


def train(run, train_split, selection_split, devices=None):
    """Trains what is not trained yet of a run, and returns its two models.

    Killed at any moment and started again, it goes on after the last whole epoch and
    ends with the same weights: batches, crops and dropout depend on the seed and the
    epoch alone, and all state of the optimiser and of the selection is kept. With other
    devices it goes on, too, and ends nearly the same, dropout apart.

    Args:
        run: A `Run` as `Run.start` returns it.
        train_split: What to learn from; with proposals where the run is to have them.
        selection_split: What the best epoch is selected by.
        devices: The `Devices`, the same run and splits at each worker; None for one.

    Returns:
        The pooled classifier and the attention model, with the best weights of each, on
        one device; None at workers other than the chief, which have no files.

    Raises:
        FloatingPointError: The loss is not finite; says where and on which images.
        ConnectionError: Another worker has ended.
    """
    settings, devices = run.config, devices or Devices()
    _make_deterministic(settings)
    data = train_split, selection_split
    train_pooled(run, train_split, selection_split, devices)
    with devices.guarded():
        if not devices.broadcast(run.model_weights.exists()):
            _train_attention(run, data, devices)
    if devices.chief:
        return run_models.load_pooled(run), run_models.load_attention(run)
    print("trained; worker 1, the chief, evaluates and exports")
    return None


def _train_attention(run, data, devices):
    settings = run.config
    if devices.chief:
        _tell_of_many_labels(settings, len(run.label_names))
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


def _tell_of_many_labels(settings, labels):
    held = code_width(settings.attention.units, labels)
    linear = (
        settings.attention.head_start == "pooled" and not settings.model.pooled_units
    )
    if linear and held < labels:
        print(
            f"step2: {settings.attention.units} units begin with a factor of rank "
            f"{held} of step 1's kernel of {labels} labels; --units {4 * labels + 1} "
            "holds all of it"
        )


def train_pooled(run, train_split, selection_split, devices=None):
    """Trains step 1 of a run alone, where it is not trained yet.

    Args:
        run: A `Run` as `Run.start` returns it.
        train_split: What to learn from.
        selection_split: What the best epoch is selected by.
        devices: See `train`.

    Raises:
        FloatingPointError: See `train`.
        ConnectionError: See `train`.
    """
    settings, devices = run.config, devices or Devices()
    devices.check(settings)
    with devices.guarded():
        _check_same(run, (train_split, selection_split), devices)
        if devices.chief:
            run.record_training_images(train_split, selection_split)
        if devices.broadcast(run.pooled_weights.exists()):
            return
        _make_deterministic(settings)
        # It looks at whole images, whatever regions step 2 is to look at.
        data = [
            dataclasses.replace(split, proposals=None)
            for split in (train_split, selection_split)
        ]
        with devices.strategy.scope():
            pooled = _best_pooled(run, data, devices)
        if devices.chief:
            weights_file.save(pooled, run.pooled_weights)


def _best_pooled(run, data, devices):
    settings = run.config
    tried = (
        ("average", "max")
        if settings.model.pooling == "best"
        else (settings.model.pooling,)
    )
    best = -math.inf
    for pooling in tried:
        keras.utils.set_random_seed(settings.training.seed)
        pooled = run_models.build_pooled(run, pooling)
        name = "step1" if len(tried) == 1 else f"step1-{pooling}"
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
    """Raises a `ValueError` where workers would train something else."""
    if devices.workers > 1:
        # Where things lie may differ from machine to machine.
        settings = run.config.replace(data_dir="", manual_dir="", weights="none")
        devices.check_same("settings", settings.to_json(run.label_names))
        for split in splits:
            devices.check_same("images and labels", split.digest)


def _load_pooled(run, devices):
    """Step 1's classifier at all workers, from the chief's file."""
    pooling = devices.broadcast(run.pooling if devices.chief else None)
    pooled = run_models.build_pooled(run, pooling, pretrained=False)
    if devices.chief:
        weights_file.load(pooled, run.pooled_weights)
    devices.broadcast_variables(pooled.weights)
    return pooled


def _make_deterministic(settings):
    # Bit-equal runs need ops that do not depend on the timing of threads. Keras does
    # not compile with XLA under them.
    if not settings.training.jit_compile:
        tf.config.experimental.enable_op_determinism()


def _fit(run, name, model, *, epochs, learning_rate, data, devices):
    """Trains one step and leaves the model with its best weights.

    Returns:
        What the best epoch scored on the selection split; larger is better.
    """
    settings = run.config
    train_split, selection_split = data
    size = devices.even_batch_size(min(settings.training.batch_size, len(train_split)))
    batches = TrainingBatches(train_split, settings.training.seed, size)
    compile_model(model, settings, learning_rate, epochs * batches.count)
    model.optimizer.build(model.trainable_variables)
    progress = ValidateAndCheckpoint(
        run.folder / name, model, settings, selection_split, batches
    )
    if devices.chief:
        _start(progress, name, train_split, epochs)
    begun, finished = devices.broadcast((progress.epoch, progress.finished))
    devices.broadcast_variables(progress.variables)
    if not finished and begun < epochs:
        callbacks = [StopWhenNotFinite(batches)]
        if devices.chief:
            callbacks += _of_chief(run, name, progress)

        def part(context):
            return batches.pipeline(settings, range(begun, epochs), context)

        model.fit(
            devices.strategy.distribute_datasets_from_function(part),
            initial_epoch=begun,
            epochs=epochs,
            steps_per_epoch=batches.count,
            shuffle=False,  # the pipeline has its own order
            callbacks=[*callbacks, FollowChief(devices, progress.variables)],
            verbose="auto" if devices.chief else 0,
        )
    if devices.chief:
        weights_file.load(model, progress.best_weights)
        kept = f"epoch {progress.best_epoch}" if progress.best_epoch else "the start"
        print(f"{name}: best by selection is {kept}, of {progress.epoch} epochs")
    return devices.broadcast(progress.best)


def _start(progress, name, train_split, epochs):
    """Resumes a step from its checkpoint, or gives it the best known start."""
    model, settings = progress.model, progress.settings
    progress.checkpoint.parent.mkdir(exist_ok=True)
    progress.restore()
    starts = [] if progress.epoch else warm_starts(model, settings)
    for start in starts:
        start.begin(model, train_split, settings)
    print(
        f"{name}: {type(model).__name__}, {len(train_split)} images, "
        f"{progress.epoch} of {epochs} epochs done"
    )
    if starts:
        # What starts from knowledge may be best before it overfits.
        progress.consider_start()


def _of_chief(run, name, progress):
    """What the chief does beside training."""
    logs = run.folder / name / "logs"
    callbacks = [progress, keras.callbacks.TensorBoard(logs, write_graph=False)]
    if isinstance(progress.model, AttentionModel):
        callbacks.append(RegionPictures(logs, run, progress.split, progress))
    return callbacks
