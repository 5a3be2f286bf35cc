"""The two steps of section 5.1: the pooled classifier, then everything jointly."""

import dataclasses
import math

import keras
import tensorflow as tf

from ram_tf import linear_probe, weights_file
from ram_tf.model import AttentionModel, PooledClassifier
from ram_tf.optimizer import Adam
from ram_tf.preprocessing import training_pipeline
from ram_tf.progress import (
    Progress,
    RegionPictures,
    StopWhenNotFinite,
)
from ram_tf.seal import sealing


def train(run, train_split, selection_split):
    """Trains what is not trained yet of a run, and returns its two models.

    Killed at any moment and started again, it goes on after the last whole epoch and
    ends with the same weights: batches, crops and dropout depend on the seed and the
    epoch alone, and all state of the optimiser and of the selection is kept.

    Args:
        run: A `Run` as `Run.start` returns it.
        train_split: What to learn from; with proposals where the run is to have them.
        selection_split: What the best epoch is selected by.

    Returns:
        The pooled classifier and the attention model, with the best weights of each.

    Raises:
        FloatingPointError: The loss is not finite; says where and on which images.
    """
    settings = run.config
    _make_deterministic(settings)
    data = train_split, selection_split
    train_pooled(run, *data)
    pooled = run.load_pooled()
    if not run.model_weights.exists():
        keras.utils.set_random_seed(settings.seed)
        model = run.build_model(pooled)
        _fit(run, "step2", model, settings.epochs, settings.learning_rate, data)
        weights_file.save(model, run.model_weights)
        # The backbone is shared, and now it is step 2's.
        pooled = run.load_pooled()
        return pooled, model
    return pooled, run.load_model()


def train_pooled(run, train_split, selection_split):
    """Trains step 1 of a run alone, where it is not trained yet.

    Args:
        run: A `Run` as `Run.start` returns it.
        train_split: What to learn from.
        selection_split: What the best epoch is selected by.

    Raises:
        FloatingPointError: See `train`.
    """
    if run.pooled_weights.exists():
        return
    settings = run.config
    _make_deterministic(settings)
    # It looks at whole images, whatever regions step 2 is to look at.
    data = [
        dataclasses.replace(split, proposals=None)
        for split in (train_split, selection_split)
    ]
    tried = ("average", "max") if settings.pooling == "best" else (settings.pooling,)
    best = -math.inf
    for pooling in tried:
        keras.utils.set_random_seed(settings.seed)
        pooled = run.build_pooled(pooling)
        name = "step1" if len(tried) == 1 else f"step1-{pooling}"
        score = _fit(
            run,
            name,
            pooled,
            settings.pooled_epochs,
            settings.pooled_learning_rate,
            data,
        )
        if score > best:
            best, chosen, chosen_pooling = score, pooled, pooling
    if settings.pooling == "best":
        with sealing(run.folder / "pooling.txt") as beside:
            beside.write_text(chosen_pooling + "\n")
    weights_file.save(chosen, run.pooled_weights)


def _make_deterministic(settings):
    # Bit-equal runs need ops that do not depend on the timing of threads. Keras does
    # not compile with XLA under them.
    if not settings.jit_compile:
        tf.config.experimental.enable_op_determinism()


def _fit(run, name, model, epochs, learning_rate, data):
    """Trains one step and leaves the model with its best weights.

    Returns:
        What the best epoch scored on the selection split; larger is better.
    """
    settings = run.config
    train_split, selection_split = data
    batch_size = min(settings.batch_size, len(train_split))
    steps = len(train_split) // batch_size
    compile_model(model, settings, learning_rate, epochs * steps)
    model.optimizer.build(model.trainable_variables)
    folder = run.folder / name
    folder.mkdir(exist_ok=True)
    progress = Progress(folder, model, settings, selection_split)
    progress.restore()
    probes = settings.probe_cost and isinstance(model, PooledClassifier)
    if probes and not progress.epoch:
        linear_probe.start(model, train_split, settings)
    print(
        f"{name}: {type(model).__name__}, {len(train_split)} images, "
        f"{progress.epoch} of {epochs} epochs done"
    )
    # A head that starts from what is known may be best before it overfits.
    attends = isinstance(model, AttentionModel)
    from_step1 = attends and settings.head_start == "pooled"
    if (probes or from_step1) and not progress.epoch:
        progress.consider_start()
    if not progress.finished and progress.epoch < epochs:
        callbacks = [
            StopWhenNotFinite(train_split, settings, batch_size),
            progress,
            keras.callbacks.TensorBoard(folder / "logs", write_graph=False),
        ]
        if attends:
            callbacks.append(
                RegionPictures(folder / "logs", run, selection_split, progress)
            )
        remaining = range(progress.epoch, epochs)
        model.fit(
            training_pipeline(
                train_split,
                settings.image_size,
                settings.crop,
                settings.flip,
                batch_size,
                remaining,
                settings.seed,
                settings.zoom_factors,
                settings.max_pixels,
            ),
            initial_epoch=progress.epoch,
            epochs=epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the pipeline has its own order
            callbacks=callbacks,
        )
    weights_file.load(model, progress.best_weights)
    return progress.best


def compile_model(model, settings, learning_rate, steps):
    """Compiles a model as the settings ask for: optimiser, schedule, XLA.

    Args:
        model: A `PooledClassifier` or an `AttentionModel`.
        settings: The `Config`.
        learning_rate: Of the new layers.
        steps: How many there will be in all.
    """
    model.compile(
        Adam(
            _schedule(settings.schedule, learning_rate, steps),
            _rates(model, settings),
            global_clipnorm=settings.clip_norm or None,
            use_ema=settings.ema > 0,
            ema_momentum=settings.ema or 0.99,
        ),
        jit_compile=settings.jit_compile,
    )


def _rates(model, settings):
    rates = [(model.backbone.trainable_variables, settings.backbone_rate)]
    if isinstance(model, AttentionModel):
        rates.append((model.attention.theta_variables, settings.localization_rate))
    return rates


def _schedule(name, learning_rate, steps):
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.01)
    # Section 5.1: divided by 10 after 30 of 45 epochs.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps * 2 // 3], [learning_rate, learning_rate / 10]
    )
