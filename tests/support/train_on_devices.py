"""Trains twenty steps on a number of devices, and writes the results to a file.

    python tests/support/train_on_devices.py DATA_DIR OUTPUT [--devices N]
        [--cases CASE ...]

A process of its own, since the number of devices must be set before TensorFlow starts.
"""

import argparse
import dataclasses
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ram_tf.cli import setting_flags
from ram_tf.data.pipelines import training_pipeline
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.training import two_steps
from ram_tf.training.devices import Devices
from tests.support.small_settings import SMALL

EPOCHS, STEPS = 5, 4
# No dropout and no sampling: other devices would draw other random numbers.
CASES = {
    "sgd": {},
    "adam": {"ema": 0.9, "clip_norm": 0.1, "learning_rate": 1e-3},
    "rarl": {"model": "rarl", "steps": 2, "locations": "anchors"},
}


def train_steps(devices, data_dir, case):
    """Returns the history and the weights after five epochs of four steps."""
    settings = SMALL.replace(data_dir=data_dir, dropout=0.0, **CASES[case])
    split = partly_labelled(run_splits.load(settings).train)
    tf.config.experimental.enable_op_determinism()
    run = Run(pathlib.Path("nowhere"), settings, split.label_names)
    keras.utils.set_random_seed(0)
    with devices.strategy.scope():
        model = run_models.build_attention(
            run,
            run_models.build_pooled(run, settings.model.pooling),
        )
        two_steps.compile_model(
            model, settings, settings.training.learning_rate, EPOCHS * STEPS
        )
        if case != "adam":
            model.compile(keras.optimizers.SGD(0.05))
        model.optimizer.build(model.trainable_variables)

    def part(context):
        return training_pipeline(
            split,
            settings.image.image_size,
            settings.image.crop,
            settings.image.flip,
            settings.training.batch_size,
            range(EPOCHS),
            settings.training.seed,
            context=context,
        )

    history = model.fit(
        devices.strategy.distribute_datasets_from_function(part),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        shuffle=False,
        verbose=0,
    ).history
    return {
        **{f"{case}/history/{name}": values for name, values in history.items()},
        **{f"{case}/weight/{i}": w for i, w in enumerate(model.get_weights())},
    }


def partly_labelled(split):
    """Returns the split with unknown labels, some images without positives."""
    labels = split.labels.copy()
    labels[::3, 0] = -1
    labels[::7] = -1
    labels[1::5] = 0
    return dataclasses.replace(split, labels=labels)


def train_cases(devices, data_dir, cases):
    return {
        name: value
        for case in cases
        for name, value in train_steps(devices, data_dir, case).items()
    }


def refusals(devices):
    """Yields the errors for unsuitable settings and for different data."""
    if devices.workers > 1:
        changes = ({"region_source": "proposals"},)
        checks = [lambda: devices.check_same("numbers", f"{devices.position}")]
    else:
        changes = (
            {"batch_size": 9},
            {"jit_compile": True},
            {"precision": "mixed_float16"},
        )
        checks = [lambda: devices.even_batch_size(1)]
    checks += [lambda c=change: devices.check(SMALL.replace(**c)) for change in changes]
    for check in checks:
        try:
            check()
        except ValueError as error:
            yield str(error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir")
    parser.add_argument("output")
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    setting_flags.add_devices_argument(parser)
    arguments = parser.parse_args()
    devices = Devices.start(arguments.devices)
    found = train_cases(devices, arguments.data_dir, arguments.cases)
    value = f"ä {devices.chief}" if devices.chief else None
    found["broadcast"] = devices.broadcast([value, float("-inf"), True])[0]
    found["count"] = devices.count
    found["shared"] = devices.even_batch_size(2 * devices.count + 1)
    found["refused"] = "\n".join(refusals(devices))
    np.savez(f"{arguments.output}-{devices.position}.npz", **found)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
