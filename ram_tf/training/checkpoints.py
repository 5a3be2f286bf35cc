"""`ValidateAndCheckpoint`, which validates, keeps the best weights, and checkpoints."""

import csv
import io
import json
import math
import time

import keras
import numpy as np
import tensorflow as tf

from ram_tf.metrics import multi_label, region_metrics
from ram_tf.runs import learning_curves, weights_file
from ram_tf.storage import cache
from ram_tf.storage.atomic_files import atomic_write
from ram_tf.training.batches import centre_crops

MIN_POSITIVES = 5  # for a label to count in the validation mAP, if any label has them


class ValidateAndCheckpoint(keras.callbacks.Callback):
    """Validates after each epoch, saves the best weights and a checkpoint to resume.

    A run that resumes with Keras' own callbacks loses the best value and the epochs
    waited, and they write in place. Here all state is in one file, which is replaced
    atomically after each epoch, within an epoch every `checkpoint_minutes`, and when
    the process is asked to terminate.

    Args:
        folder: The folder of `checkpoint.npz`, `best.weights.h5` and `history.csv`.
        model: The compiled model with a built optimiser.
        settings: The `Config`.
        split: The validation split.
        batches: The `TrainingBatches`; the error for a validation loss that is not
            finite names the images of the last one.
    """

    def __init__(self, folder, model, settings, split, batches):
        super().__init__()
        self.set_model(model)
        self.checkpoint = folder / "checkpoint.npz"
        self.best_weights = folder / "best.weights.h5"
        self.history_file = folder / learning_curves.HISTORY
        self.settings = settings
        self.split = split
        self.batches = batches
        self.inputs = centre_crops(split, settings, settings.training.batch_size)
        # `Model.predict` would use all training devices; validation uses only one.
        self.forward = tf.function(
            lambda inputs: model(inputs, training=False),
            autograph=False,
            reduce_retracing=True,
            jit_compile=settings.training.jit_compile or None,
        )
        self.history, self.best, self.waited, self.finished = [], -math.inf, 0, False
        self.steps = 0  # finished steps of the epoch that has begun
        self.means = []  # of these steps: the state of the model's metrics
        self.termination = None  # the `Termination` to end training for
        self.start = None  # the metrics before the first epoch, if it has begun well
        self.outputs = None  # the model's dict of arrays from the last validation

    @property
    def epoch(self):
        """The number of finished epochs."""
        return len(self.history)

    @property
    def best_epoch(self):
        """The epoch of the best weights, from 1; 0: the weights before training."""
        return self.epoch - self.waited

    @property
    def has_begun(self):
        """Whether a step of training is done."""
        return bool(self.epoch or self.steps)

    def on_train_begin(self, logs=None):
        self.saved = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.done = self.steps
        # Keras has just reset them.
        for variable, value in zip(self._mean_variables, self.means, strict=False):
            variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        self.steps = self.done + batch + 1
        if self.steps == self.batches.count:
            return  # the end of the epoch writes a checkpoint
        asked = self.termination is not None and self.termination.requested
        minutes = (time.monotonic() - self.saved) / 60
        if asked or minutes >= self.settings.training.checkpoint_minutes:
            self._save()
        if asked:
            self.termination.exit()

    def validate_start(self):
        """Validates the weights before the first epoch, which may be the best ones."""
        logs = self._validate()
        self._select(logs)
        self.start = {"epoch": 0, **logs}
        print(f"start: val_loss {logs['val_loss']:.4f}, val_mAP {logs['val_mAP']:.4f}")

    def on_epoch_end(self, epoch, logs=None):
        self.steps, self.means = 0, []
        averaged = keras.callbacks.SwapEMAWeights()
        averaged.set_model(self.model)
        if self.settings.training.ema:
            averaged.on_test_begin()
        logs.update(self._validate())
        # No training loss of this epoch shows the effect of its last update.
        self.batches.check_finite(logs["val_loss"], epoch, self.batches.count - 1)
        self._select(logs)
        if self.settings.training.ema:
            averaged.on_test_end()
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        self.history.append({"epoch": epoch + 1, **logs})
        patience = self.settings.training.patience
        self.finished = bool(patience and self.waited >= patience)
        self.model.stop_training = self.finished
        self._save()

    def _validate(self):
        batches = [self.forward(inputs) for (inputs,) in self.inputs]
        outputs = {
            name: tf.concat([batch[name] for batch in batches], 0).numpy()
            for name in batches[0]
        }
        self.outputs = outputs
        terms = self.model.objective.terms(self.split.labels, outputs)
        metrics = self.model.extra_metrics(self.split.labels, outputs)
        logs = {f"val_{n}": float(value) for n, value in {**terms, **metrics}.items()}
        logs["val_loss"] = sum(float(value) for value in terms.values())
        logs["val_mAP"] = self._mean_average_precision(outputs["probabilities"])
        if "boxes" in outputs and outputs["boxes"].shape[1] > 1:
            logs["val_region_iou"] = float(region_metrics.region_iou(outputs["boxes"]))
        return logs

    def _mean_average_precision(self, probabilities):
        if not np.isfinite(probabilities).all():
            return math.nan
        # The AP of a label with one or two positives is mostly noise, so such labels
        # count only where no label has more.
        for min_positives in (MIN_POSITIVES, 1):
            mean = multi_label.mean_average_precision(
                self.split.labels, probabilities, min_positives=min_positives
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
        """The variables of model, optimiser and random seeds that a checkpoint holds.

        Metrics are left out: each epoch resets them, and each device has its own.
        """
        metrics = {id(variable) for variable in self._mean_variables}
        variables = [*self.model.variables, *self.model.optimizer.variables]
        return [v for v in variables if id(v) not in metrics]

    @property
    def _mean_variables(self):
        return self.model.metrics_variables

    def _save(self):
        state = {
            "history": self.history,
            "steps": self.steps,
            "start": self.start,
            "best": self.best,
            "waited": self.waited,
            "finished": self.finished,
        }
        arrays = {f"{i}": v.numpy() for i, v in enumerate(self.variables)}
        if self.steps:
            means = enumerate(self._mean_variables)
            arrays |= {f"mean{i}": variable.numpy() for i, variable in means}
        with atomic_write(self.checkpoint) as temporary:
            np.savez(temporary, state=json.dumps(state), **arrays)
        self._write_history()
        self.saved = time.monotonic()

    def _write_history(self):
        rows = [self.start, *self.history] if self.start else self.history
        with atomic_write(self.history_file) as temporary:
            temporary.write_text(_csv(rows))

    def restore(self):
        """Restores the state of the checkpoint, if there is one.

        Raises:
            ValueError: The checkpoint cannot be read or belongs to another model.
        """
        if not self.checkpoint.exists():
            return
        variables = self.variables
        try:
            saved = cache.load(self.checkpoint)
            state = json.loads(str(saved["state"]))
            self.history, self.best = list(state["history"]), float(state["best"])
            # Neither is in those of earlier versions.
            self.start, self.steps = state.get("start"), int(state.get("steps", 0))
            self.waited, self.finished = int(state["waited"]), bool(state["finished"])
            for i, variable in enumerate(variables):
                variable.assign(saved[f"{i}"])
            self.means = [
                saved[f"mean{i}"] for i in range(len(saved)) if f"mean{i}" in saved
            ]
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                "The checkpoint cannot be used. Expected the state of this step of the "
                f"run; remove the file to begin the step again. Received: "
                f"{self.checkpoint} ({error})"
            ) from error
        # A process that is killed after the checkpoint leaves an older history.
        self._write_history()


def _csv(rows):
    """Returns dicts as csv text, with every key of any of them as a column."""
    # The last row has all metrics, in their order.
    columns = list(dict.fromkeys(name for row in rows[::-1] for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
