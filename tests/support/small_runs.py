"""Settings of small runs with two epochs per step, their training and history."""

from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.training import two_steps

FLAGS = {
    "dataset": "csv",
    "backbone": "small",
    "weights": "none",
    "image_size": 40,
    "crop_margin": 8,
    "region_size": 4,
    "regions": 2,
    "units": 16,
    "loss": "bce",
    "batch_size": 8,
    "pooled_epochs": 2,
    "epochs": 2,
    "pooled_learning_rate": 1e-3,
    "learning_rate": 1e-3,
}


def small_config(data_dir, **changes):
    return Config.of(**{**FLAGS, "data_dir": str(data_dir), **changes})


def train_run(folder, settings, resume=False):
    """Returns the run, its pooled classifier and its attention model."""
    splits = run_splits.load(settings)
    run = Run.start(folder, settings, splits.train.label_names, resume=resume)
    return run, *two_steps.train(run, splits.train, splits.selection)


def last_epoch(run):
    """The metrics of the last epoch of step 2, by name."""
    lines = (run.folder / "step2" / "history.csv").read_text().splitlines()
    return dict(zip(lines[0].split(","), map(float, lines[-1].split(",")), strict=True))
