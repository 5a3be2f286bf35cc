"""What goes on beside training: validation, the best weights, resuming, pictures."""

import csv
import io
import json
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from ram_tf.data.decoding import decode_image
from ram_tf.data.drawing import draw_locations, draw_outputs
from ram_tf.data.pipelines import (
    read_files,
)
from ram_tf.metrics import multi_label, region_metrics
from ram_tf.runs import weights_file
from ram_tf.storage import cache
from ram_tf.storage.atomic_files import atomic_write
from ram_tf.training.batches import validation_inputs

MIN_POSITIVES = 5  # of a label that counts in the validation mAP, where there is one
PICTURES = 4  # validation images that TensorBoard shows with their regions


class ValidateAndCheckpoint(keras.callbacks.Callback):
    """Validates after each epoch, keeps the best weights and all that resuming needs.

    Keras has `ModelCheckpoint`, `EarlyStopping` and `BackupAndRestore`, but a run that
    resumes with them forgets the best value and the epochs waited, and they write in
    place. Here everything stands in one file, replaced as a whole after each epoch.

    Args:
        folder: Where `checkpoint.npz`, `best.weights.h5` and `history.csv` are kept.
        model: The compiled model, its optimiser built.
        settings: The `Config`.
        split: The selection split.
        batches: The `TrainingBatches`, whose last one is named where an epoch ends in
            no numbers.
    """

    def __init__(self, folder, model, settings, split, batches):
        super().__init__()
        self.set_model(model)
        self.checkpoint = folder / "checkpoint.npz"
        self.best_weights = folder / "best.weights.h5"
        self.history_file = folder / "history.csv"
        self.settings = settings
        self.split = split
        self.batches = batches
        self.inputs = validation_inputs(split, settings, settings.training.batch_size)
        # On one device, whichever train the model: `Model.predict` takes all of them.
        self.look = tf.function(
            lambda inputs: model(inputs, training=False),
            autograph=False,
            reduce_retracing=True,
            jit_compile=settings.training.jit_compile or None,
        )
        self.history, self.best, self.waited, self.finished = [], -math.inf, 0, False
        self.outputs = None  # of the last validation, the model's dict as arrays

    @property
    def epoch(self):
        """How many epochs are behind us."""
        return len(self.history)

    @property
    def best_epoch(self):
        """The epoch whose weights are kept, 0 for those before the first."""
        return self.epoch - self.waited

    def consider_start(self):
        """Lets the weights before the first epoch be the best ones, too."""
        logs = self._validate()
        self._select(logs)
        print(f"start: val_loss {logs['val_loss']:.4f}, val_mAP {logs['val_mAP']:.4f}")

    def on_epoch_end(self, epoch, logs=None):
        averaged = keras.callbacks.SwapEMAWeights()
        averaged.set_model(self.model)
        if self.settings.training.ema:
            averaged.on_test_begin()
        logs.update(self._validate())
        # What the last update has done, no step of the epoch has seen.
        self.batches.must_be_finite(logs["val_loss"], epoch, self.batches.count - 1)
        self._select(logs)
        if self.settings.training.ema:
            averaged.on_test_end()
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        self.history.append({"epoch": epoch + 1, **logs})
        patience = self.settings.training.patience
        self.finished = bool(patience and self.waited >= patience)
        self.model.stop_training = self.finished
        self._save()

    def _validate(self):
        seen = [self.look(inputs) for (inputs,) in self.inputs]
        outputs = {
            name: tf.concat([s[name] for s in seen], 0).numpy() for name in seen[0]
        }
        self.outputs = outputs
        terms = self.model.objective.terms(self.split.labels, outputs)
        figures = self.model.figures(self.split.labels, outputs)
        logs = {f"val_{n}": float(value) for n, value in {**terms, **figures}.items()}
        logs["val_loss"] = sum(float(value) for value in terms.values())
        logs["val_mAP"] = self._mean_average_precision(outputs["probabilities"])
        if "boxes" in outputs and outputs["boxes"].shape[1] > 1:
            logs["val_region_iou"] = float(region_metrics.region_iou(outputs["boxes"]))
        return logs

    def _mean_average_precision(self, probabilities):
        if not np.isfinite(probabilities).all():
            return math.nan
        # The AP of a label with one or two images is luck, and selection splits are
        # small; where no label has more, it has to do.
        for least in (MIN_POSITIVES, 1):
            mean = multi_label.mean_average_precision(
                self.split.labels, probabilities, min_positives=least
            )
            if not math.isnan(mean):
                break
        return mean

    def _select(self, logs):
        by_loss = self.settings.training.select_by == "loss"
        score = -logs["val_loss"] if by_loss else logs["val_mAP"]
        if score > self.best:
            self.best, self.waited = score, 0
            weights_file.save(self.model, self.best_weights)
        else:
            self.waited += 1

    @property
    def variables(self):
        """All that a resumed run needs: weights, and the states of optimiser and seeds.

        Metrics begin anew with each epoch, and each device has its own.
        """
        begun_anew = {id(variable) for variable in self.model.metrics_variables}
        everything = [*self.model.variables, *self.model.optimizer.variables]
        return [v for v in everything if id(v) not in begun_anew]

    def _save(self):
        state = {
            "history": self.history,
            "best": self.best,
            "waited": self.waited,
            "finished": self.finished,
        }
        arrays = {f"{i}": v.numpy() for i, v in enumerate(self.variables)}
        with atomic_write(self.checkpoint) as temporary:
            np.savez(temporary, state=json.dumps(state), **arrays)
        with atomic_write(self.history_file) as temporary:
            temporary.write_text(_table(self.history))

    def restore(self):
        """Takes up where the checkpoint was written, if there is one.

        Raises:
            ValueError: The checkpoint cannot be read or is another model's.
        """
        if not self.checkpoint.exists():
            return
        variables = self.variables
        try:
            saved = cache.load(self.checkpoint)
            state = json.loads(str(saved["state"]))
            self.history, self.best = list(state["history"]), float(state["best"])
            self.waited, self.finished = int(state["waited"]), bool(state["finished"])
            for i, variable in enumerate(variables):
                variable.assign(saved[f"{i}"])
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                "The checkpoint cannot be used. Expected the state of this step of the "
                f"run; remove the file to begin the step again. Received: "
                f"{self.checkpoint} ({error})"
            ) from error


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends training at the first loss that is no number, and names its images.

    Args:
        batches: The `TrainingBatches`.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches, self.epoch = batches, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.batches.must_be_finite(logs["loss"], self.epoch, batch)


class RegionPictures(keras.callbacks.Callback):
    """Shows TensorBoard where the model looks, epoch by epoch.

    These are the regions of a few validation images, and the heat map of each step's
    locations over all of them.

    Args:
        folder: Where TensorBoard's logs go.
        run: The `Run`.
        split: The selection split; its first images are shown.
        progress: The `ValidateAndCheckpoint`, called before it, whose validation is
            shown.
    """

    def __init__(self, folder, run, split, progress):
        super().__init__()
        self.progress = progress
        self.folder = folder / "validation"
        self.writer = tf.summary.create_file_writer(str(self.folder))
        self.label_names = run.label_names
        shown = split.take(range(min(PICTURES, len(split))))
        self.originals = [
            decode_image(encoded, run.config.data.max_pixels).numpy()
            for encoded in read_files(shown)
        ]

    def on_epoch_end(self, epoch, logs=None):
        outputs = self.progress.outputs
        shown = {name: rows[: len(self.originals)] for name, rows in outputs.items()}
        per_step = self.model.attention.regions_a_step
        pictures = draw_outputs(
            self.originals, shown, self.label_names, per_step=per_step
        )
        # The regions of a step have their centre in common.
        first = outputs["regions"][:, ::per_step]
        heat = draw_locations(first[..., 2])
        before, why = self._written(), None
        try:
            with self.writer.as_default(step=epoch):
                for number, picture in enumerate(pictures):
                    shown = np.asarray(picture)[None]
                    tf.summary.image(f"regions/{number}", shown)
                tf.summary.image("locations", np.asarray(heat)[None])
            self.writer.flush()
        except tf.errors.OpError as error:
            why = error.message.splitlines()[0]
        # On some disks TensorFlow drops what it cannot write, without an error.
        if why or self._written() == before:
            print(f"not written: {self.folder} ({why or 'no room?'})", file=sys.stderr)

    def _written(self):
        return sum(path.stat().st_size for path in self.folder.glob("*"))


def _table(rows):
    """Writes rows as csv, with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
