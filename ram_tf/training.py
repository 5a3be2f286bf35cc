"""The two steps of section 5.1: the pooled classifier, then everything jointly."""

import csv
import io
import json
import math

import keras
import numpy as np
import tensorflow as tf

from ram_tf import metrics
from ram_tf.model import RDAR
from ram_tf.optimizer import Adam
from ram_tf.preprocessing import (
    centre_crop,
    decode_image,
    epoch_order,
    evaluation_pipeline,
    read_files,
    resize,
    training_pipeline,
)
from ram_tf.run import replacing
from ram_tf.visualization import draw_outputs

PICTURES = 4  # validation images that TensorBoard shows with their regions


def train(run, train_split, selection_split):
    """Trains what is not trained yet of a run, and returns its two models.

    Killed at any moment and started again, it goes on after the last whole epoch and
    ends with the same weights: batches, crops and dropout depend on the seed and the
    epoch alone, and all state of the optimiser and of the selection is kept.

    Args:
        run: A `Run` as `Run.start` returns it.
        train_split: What to learn from.
        selection_split: What the best epoch is selected by.

    Returns:
        The pooled classifier and the attention model, with the best weights of each.

    Raises:
        FloatingPointError: The loss is not finite; says where and on which images.
    """
    # Bit-equal runs need ops that do not depend on the timing of threads.
    tf.config.experimental.enable_op_determinism()
    settings = run.config
    data = train_split, selection_split
    if not run.pooled_weights.exists():
        _train_pooled(run, data)
    pooled = run.load_pooled()
    if not run.model_weights.exists():
        keras.utils.set_random_seed(settings.seed)
        model = run.build_model(pooled)
        _fit(run, "step2", model, settings.epochs, settings.learning_rate, data)
        _save_weights(model, run.model_weights)
        # The backbone is shared, and now it is step 2's.
        pooled = run.load_pooled()
        return pooled, model
    return pooled, run.load_model()


def _train_pooled(run, data):
    settings = run.config
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
        with replacing(run.folder / "pooling.txt") as beside:
            beside.write_text(chosen_pooling + "\n")
    _save_weights(chosen, run.pooled_weights)


def _fit(run, name, model, epochs, learning_rate, data):
    """Trains one step and leaves the model with its best weights.

    Returns:
        What the best epoch scored on the selection split; larger is better.
    """
    settings = run.config
    train_split, selection_split = data
    batch_size = min(settings.batch_size, len(train_split))
    steps = len(train_split) // batch_size
    model.compile(
        Adam(
            _schedule(settings.schedule, learning_rate, epochs * steps),
            _rates(model, settings),
            global_clipnorm=settings.clip_norm or None,
            use_ema=settings.ema > 0,
            ema_momentum=settings.ema or 0.99,
        ),
        jit_compile=settings.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    folder = run.folder / name
    folder.mkdir(exist_ok=True)
    progress = Progress(folder, model, settings, selection_split)
    progress.restore()
    print(
        f"{name}: {type(model).__name__}, {len(train_split)} images, "
        f"epoch {progress.epoch + 1} of {epochs}"
    )
    if not progress.finished:
        callbacks = [
            StopWhenNotFinite(train_split, settings, batch_size),
            progress,
            keras.callbacks.TensorBoard(folder / "logs", write_graph=False),
        ]
        if isinstance(model, RDAR):
            callbacks.append(RegionPictures(folder / "logs", run, selection_split))
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
                settings.max_pixels,
            ),
            initial_epoch=progress.epoch,
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=callbacks,
        )
    model.load_weights(progress.best_weights)
    return progress.best


def _rates(model, settings):
    rates = [(model.backbone.trainable_variables, settings.backbone_rate)]
    if isinstance(model, RDAR):
        rates.append((model.attention.theta_variables, settings.localization_rate))
    return rates


def _schedule(name, learning_rate, steps):
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.01)
    # Section 5.1: divided by 10 after 30 of 45 epochs.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps * 2 // 3], [learning_rate, learning_rate / 10]
    )


def _save_weights(model, path):
    with replacing(path) as beside:
        model.save_weights(beside)


class Progress(keras.callbacks.Callback):
    """Validates after each epoch, keeps the best weights and all that resuming needs.

    Keras has `ModelCheckpoint`, `EarlyStopping` and `BackupAndRestore`, but a run that
    resumes with them forgets the best value and the epochs waited, and they write in
    place. Here everything stands in one file, replaced as a whole after each epoch.

    Args:
        folder: Where `checkpoint.npz`, `best.weights.h5` and `history.csv` are kept.
        model: The compiled model, its optimiser built.
        settings: The `Config`.
        split: The selection split.
    """

    def __init__(self, folder, model, settings, split):
        super().__init__()
        self.set_model(model)
        self.checkpoint = folder / "checkpoint.npz"
        self.best_weights = folder / "best.weights.h5"
        self.history_file = folder / "history.csv"
        self.settings = settings
        self.split = split
        self.images = evaluation_pipeline(
            split,
            settings.image_size,
            settings.crop,
            settings.batch_size,
            settings.max_pixels,
        )
        self.history, self.best, self.waited, self.finished = [], -math.inf, 0, False

    @property
    def epoch(self):
        """How many epochs are behind us."""
        return len(self.history)

    def on_epoch_end(self, epoch, logs=None):
        averaged = keras.callbacks.SwapEMAWeights()
        averaged.set_model(self.model)
        if self.settings.ema:
            averaged.on_test_begin()
        logs.update(self._validate())
        self._select(logs)
        if self.settings.ema:
            averaged.on_test_end()
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        self.history.append({"epoch": epoch + 1, **logs})
        patience = self.settings.patience
        self.finished = bool(patience and self.waited >= patience)
        self.model.stop_training = self.finished
        self._save()

    def _validate(self):
        outputs = self.model.predict(self.images, verbose=0)
        terms = self.model.objective.terms(self.split.labels, outputs)
        logs = {f"val_{name}": float(value) for name, value in terms.items()}
        logs["val_loss"] = sum(logs.values())
        precisions = metrics.average_precision(
            self.split.labels, outputs["probabilities"]
        )
        logs["val_mAP"] = float(np.nanmean(precisions))
        if "boxes" in outputs and outputs["boxes"].shape[1] > 1:
            logs["val_region_iou"] = float(metrics.region_iou(outputs["boxes"]))
        return logs

    def _select(self, logs):
        by_loss = self.settings.select_by == "loss"
        score = -logs["val_loss"] if by_loss else logs["val_mAP"]
        if score > self.best:
            self.best, self.waited = score, 0
            _save_weights(self.model, self.best_weights)
        else:
            self.waited += 1

    def _variables(self):
        return [*self.model.variables, *self.model.optimizer.variables]

    def _save(self):
        state = {
            "history": self.history,
            "best": self.best,
            "waited": self.waited,
            "finished": self.finished,
        }
        arrays = {f"{i}": v.numpy() for i, v in enumerate(self._variables())}
        with replacing(self.checkpoint) as beside:
            np.savez(beside, state=json.dumps(state), **arrays)
        with replacing(self.history_file) as beside:
            beside.write_text(_table(self.history))

    def restore(self):
        """Takes up where the checkpoint was written, if there is one.

        Raises:
            ValueError: The checkpoint cannot be read or is another model's.
        """
        if not self.checkpoint.exists():
            return
        variables = self._variables()
        try:
            with np.load(self.checkpoint, allow_pickle=False) as saved:
                state = json.loads(str(saved["state"]))
                values = [saved[f"{i}"] for i in range(len(variables))]
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                "The checkpoint cannot be used. Expected the state of this step of the "
                f"run; remove the file to begin the step again. Received: "
                f"{self.checkpoint} ({error})"
            ) from error
        self.history, self.best = state["history"], state["best"]
        self.waited, self.finished = state["waited"], state["finished"]


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends training at the first loss that is no number, and names its images."""

    def __init__(self, split, settings, batch_size):
        super().__init__()
        self.split, self.settings, self.batch_size = split, settings, batch_size
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            order = epoch_order(len(self.split), self.settings.seed, self.epoch)
            first = batch * self.batch_size
            names = [self.split.names[i] for i in order[first:][: self.batch_size]]
            raise FloatingPointError(
                "The loss is not finite. Expected a number; a smaller learning rate or "
                f"--clip_norm may help. Received: {logs['loss']} at epoch "
                f"{self.epoch + 1}, step {batch + 1}, images {', '.join(names)}"
            )


class RegionPictures(keras.callbacks.Callback):
    """Shows TensorBoard the regions of a few validation images, epoch by epoch.

    Args:
        folder: Where TensorBoard's logs go.
        run: The `Run`.
        split: The selection split; its first images are shown.
    """

    def __init__(self, folder, run, split):
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(folder / "validation"))
        self.label_names = run.label_names
        settings = run.config
        images = [
            decode_image(encoded, settings.max_pixels).numpy()
            for encoded in read_files(split.take(range(min(PICTURES, len(split)))))
        ]
        self.originals = images
        self.images = np.stack(
            [centre_crop(resize(i, settings.image_size), settings.crop) for i in images]
        )

    def on_epoch_end(self, epoch, logs=None):
        outputs = self.model.predict_on_batch(self.images)
        pictures = draw_outputs(self.originals, outputs, self.label_names)
        with self.writer.as_default(step=epoch):
            for number, picture in enumerate(pictures):
                shown = np.asarray(picture)[None]
                tf.summary.image(f"regions/{number}", shown)


def _table(rows):
    """Writes rows as csv, with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
