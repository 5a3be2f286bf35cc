"""Tests that the preset of own data trains with few labels and with thousands."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from ram_tf.data.split import Split
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESET_OF, preset
from ram_tf.runs.run import Run
from ram_tf.training import two_steps
from tests.support.memory_use import Taken

BATCH = 4
# The preset but for what makes a step of the small backbone take seconds.
SMALL = {
    "dataset": "csv",
    "backbone": "small",
    "weights": "none",
    "image_size": 104,
    "crop_margin": 8,
    "probe_cost": 0.0,
    "batch_size": BATCH,
    "pooled_epochs": 1,
    "epochs": 1,
}


def split_of(names, images):
    """Returns images of noise; each label is present in every second image."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(images):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    present = (np.arange(images)[:, None] + np.arange(len(names))) % 2
    named = tuple(f"{i}.png" for i in range(images))
    return Split(tuple(files), named, present.astype(np.int8), names)


def train_one_step(folder, count):
    """Trains a batch of each step, and returns the two models."""
    names = tuple(f"label {i}" for i in range(count))
    settings = Config.of(**{**preset(PRESET_OF["csv"]), **SMALL})
    run = Run.start(folder / "run", settings, names)
    return two_steps.train(run, split_of(names, BATCH), split_of(names, 2))


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(2, marks=pytest.mark.slow),
        130,
        pytest.param(1000, marks=pytest.mark.slow),
    ],
)
def test_the_preset_of_own_data_trains_any_number_of_labels(tmp_path, count):
    for model in train_one_step(tmp_path, count):
        outputs = model(np.full((1, 96, 96, 3), 128, np.float32))
        probabilities = np.asarray(outputs["probabilities"])
        assert probabilities.shape == (1, count)
        assert np.isfinite(probabilities).all()


@pytest.mark.slow
def test_five_thousand_labels_take_minutes_and_gigabytes_at_most(tmp_path, capsys):
    memory, began = Taken(), time.monotonic()
    train_one_step(tmp_path, 5000)
    taken, most = time.monotonic() - began, memory.most
    with capsys.disabled():
        print(f"\n5,000 labels: {taken:.0f} s, {most:.0f} MiB")
    assert taken < 300
    assert most < 3000
