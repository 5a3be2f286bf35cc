"""Keras callbacks that stop on a bad loss, and that show how training goes.

The one that validates and writes checkpoints is in `checkpoints`.
"""

import sys
import time

import keras
import numpy as np
import tensorflow as tf

from ram_tf.data.drawing import draw_locations, draw_outputs
from ram_tf.data.image_bytes import read_files
from ram_tf.data.images.decoding import decode_image
from ram_tf.runs import learning_curves

DRAWN_EVERY = 10  # seconds from one picture of the learning curves to the next
IMAGES = 4  # validation images that TensorBoard shows with their regions


class StopWhenNotFinite(keras.callbacks.Callback):
    """Raises a `FloatingPointError` at the first training loss that is not finite.

    Args:
        batches: The `TrainingBatches`.
        skipped: The steps of the first epoch that were done before.
    """

    def __init__(self, batches, skipped=0):
        super().__init__()
        self.batches, self.skipped, self.epoch = batches, skipped, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.batches.check_finite(logs["loss"], self.epoch, self.skipped + batch)


class EpochLines(keras.callbacks.Callback):
    """Prints a line after each epoch, in place of Keras' bar, for logs.

    Args:
        name: The name of the step.
    """

    def __init__(self, name):
        super().__init__()
        self.name, self.begin = name, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self.begin
        metrics = "".join(f", {name} {value:.4g}" for name, value in logs.items())
        epochs = f"epoch {epoch + 1} of {self.params['epochs']}"
        print(f"{self.name}: {epochs}, {seconds:.0f} s{metrics}", flush=True)


class DrawCurves(keras.callbacks.Callback):
    """Draws the run's learning curves after an epoch, and at the end.

    Short epochs are passed over, since a picture takes as long as many of their steps.

    Args:
        run: The `Run`; `ValidateAndCheckpoint`, which must come earlier in the list of
            callbacks, writes the history that is drawn.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.drawn = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if time.monotonic() - self.drawn >= DRAWN_EVERY:
            learning_curves.write(self.run)
            self.drawn = time.monotonic()

    def on_train_end(self, logs=None):
        learning_curves.write(self.run)


class RegionImages(keras.callbacks.Callback):
    """Writes images of the model's regions for TensorBoard after each epoch.

    They are the regions of a few validation images, and for each step of the model a
    heat map of its locations over all validation images.

    Args:
        folder: The folder of TensorBoard's logs.
        run: The `Run`.
        split: The validation split; its first images are shown.
        validation: The `ValidateAndCheckpoint` whose outputs are shown; it must come
            earlier in the list of callbacks.
    """

    def __init__(self, folder, run, split, validation):
        super().__init__()
        self.validation = validation
        self.folder = folder / "validation"
        self.writer = tf.summary.create_file_writer(str(self.folder))
        self.label_names = run.label_names
        shown = split.take(range(min(IMAGES, len(split))))
        data = run.config.data
        self.originals = [
            decode_image(encoded, data.max_pixels, data.truncated).numpy()
            for encoded in read_files(shown)
        ]

    def on_epoch_end(self, epoch, logs=None):
        outputs = self.validation.outputs
        shown = {name: rows[: len(self.originals)] for name, rows in outputs.items()}
        per_step = self.model.attention.regions_a_step
        pictures = draw_outputs(
            self.originals, shown, self.label_names, per_step=per_step
        )
        # The regions of a step have the same centre.
        first = outputs["regions"][:, ::per_step]
        heat = draw_locations(first[..., 2])
        size_before, reason = self._size(), None
        try:
            with self.writer.as_default(step=epoch):
                for number, picture in enumerate(pictures):
                    shown = np.asarray(picture)[None]
                    tf.summary.image(f"regions/{number}", shown)
                tf.summary.image("locations", np.asarray(heat)[None])
            self.writer.flush()
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0]
        # On some full disks TensorFlow raises no error, but the files do not grow.
        if reason or self._size() == size_before:
            reason = reason or "is the disk full?"
            print(f"not written: {self.folder} ({reason})", file=sys.stderr)

    def _size(self):
        return sum(path.stat().st_size for path in self.folder.glob("*"))
