"""What faults are done to: a small run, and an undisturbed one to compare it with."""

import functools
import itertools
import json
import random
import shutil

import numpy as np

from tests.faults import program
from tests.faults.case import NotHeldError
from tests.support.h5_arrays import arrays
from tests.support.squares import write_squares

# Seconds of work, and all that is kept between epochs: dropout's seeds, averaged
# weights, the best so far, which may be the start.
SETTINGS = {
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
    "epochs": 3,
    "pooled_learning_rate": 1e-3,
    "learning_rate": 1e-3,
    "dropout": 0.3,
    "ema": 0.9,
    "probe_cost": 1.0,
}
STEPS = ("step1", "step2")
TEXTS = (
    "config.json",
    "calibration.json",
    "results.json",
    *(f"{step}/history.csv" for step in STEPS),
)
WEIGHTS = (
    "pooled.weights.h5",
    "model.weights.h5",
    *(f"{step}/best.weights.h5" for step in STEPS),
)
VERSION = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets/labels.txt",
    "assets.extra/config.json",
    "assets.extra/views.json",
)


class Bench:
    """A folder with data and a finished run that nothing has disturbed.

    Args:
        folder: For all that is written. An undisturbed run in it is used again.
        kills: How many kills of each program.
        seed: Of what is random.
    """

    def __init__(self, folder, kills, seed):
        self.folder, self.kills = folder, kills
        self.random = random.Random(seed)
        self.numbers = itertools.count()
        self.data = folder / "data"
        self.undisturbed, self.saved = folder / "undisturbed", folder / "saved"
        self.version = self.saved / "csv" / "1"
        if not self.version.exists():
            self._begin()

    def _begin(self):
        self.data.mkdir()
        write_squares(self.data)
        # As users start it: lives must equal it although they are forked.
        first = program.alone("fit", self.fitting(self.undisturbed, self.saved))
        said, _ = first.communicate()
        if first.returncode:
            raise RuntimeError(f"The undisturbed run has failed: {said[-2000:]}")

    def new(self, name):
        """A path in the bench's folder that nothing is at yet."""
        number = next(n for n in self.numbers if not [*self.folder.glob(f"{n}-*")])
        return self.folder / f"{number}-{name}"

    def copy(self, *without):
        """A copy of the undisturbed run, without some of its files."""
        return self.copy_of(self.undisturbed, *without)

    def copy_of(self, run, *without):
        """A copy of a run, without some of its files."""
        copied = shutil.copytree(run, self.new("copy"))
        for name in without:
            (copied / name).unlink()
        return copied

    @functools.cached_property
    def evaluated(self):
        """A copy of the undisturbed run with kept features and SVMs."""
        run = self.copy()
        life = self.evaluate(run, run / "evaluated.json")
        if life.wait() != 0:
            raise RuntimeError(f"The evaluation has failed: {life.errors[-2000:]}")
        return run

    @property
    def figures(self):
        """What evaluating the undisturbed run gives."""
        return figures(self.evaluated / "evaluated.json")

    def size(self, name):
        """Bytes of a file of the undisturbed run."""
        return (self.undisturbed / name).stat().st_size

    def fitting(self, run, saved, *flags):
        """The arguments of fit.py."""
        settings = {
            **SETTINGS,
            "data_dir": self.data,
            "output_dir": run,
            "saved_models": saved,
        }
        return [f"--{k}={v}" for k, v in settings.items()] + ["--calibrate", *flags]

    def start(self, script, *arguments, largest=None):
        """Starts a `Life`."""
        return program.Life(script, arguments, self.new(script), largest)

    def fit(self, run, saved, *flags, largest=None):
        """Starts fit.py, to begin the run or go on with it."""
        arguments = self.fitting(run, saved, "--resume", *flags)
        return self.start("fit", *arguments, largest=largest)

    def evaluate(self, run, output, largest=None):
        """Starts evaluate.py: five views, scored by SVMs on their features."""
        flags = "--views=5", "--svm", f"--output={output}"
        return self.start("evaluate", f"--model_dir={run}", *flags, largest=largest)

    def finish(self, run):
        """Goes on with a run to its end, which must be that of the undisturbed one."""
        saved = self.new("saved")
        life = self.fit(run, saved)
        if life.wait() != 0:
            raise NotHeldError(f"does not go on: {sentence(life.errors)}")
        self.must_equal(run, saved)
        return "resumed: bit-equal"

    def must_equal(self, run, saved):
        """Raises a `NotHeldError` where a run or its export is not as undisturbed.

        Equal are the bytes of weights, figures, thresholds and histories.
        """
        for name in TEXTS:
            if (run / name).read_bytes() != (self.undisturbed / name).read_bytes():
                raise NotHeldError(f"another {name} in {run}")
        for name in WEIGHTS:
            one, other = arrays(run / name), arrays(self.undisturbed / name)
            if not same(one, other):
                raise NotHeldError(f"other weights in {run / name}")
        for left in [*run.rglob("partial-*"), *saved.rglob("partial-*")]:
            raise NotHeldError(f"left over: {left}")
        self.must_be_versions(saved / "csv")

    def must_be_versions(self, folder):
        """Raises a `NotHeldError` where a version is not as the undisturbed one."""
        for version in versions(folder):
            must_be_whole(version)
            for name in VERSION[-3:]:
                if (version / name).read_bytes() != (self.version / name).read_bytes():
                    raise NotHeldError(f"another {name} in {version}")
            if variables(version) != variables(self.version):
                raise NotHeldError(f"other variables in {version}")


def figures(path):
    """The figures of a file, but where its model lies."""
    return json.loads(path.read_text())


def versions(folder):
    """The numbered folders of a SavedModel."""
    return [p for p in folder.glob("*") if p.name.isdecimal()]


def must_be_whole(version):
    """Raises a `NotHeldError` where a file of a version is missing or empty."""
    for name in VERSION:
        path = version / name
        if not path.is_file() or not path.stat().st_size:
            raise NotHeldError(f"half a version: no {path}")


def must_be_readable(run):
    """Raises a `NotHeldError` where a file that is in place is not whole."""
    for path in run.rglob("*"):
        if path.name.startswith("partial-") or path.parent.name == "checksums":
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                with np.load(path) as saved:
                    _ = [saved[name] for name in saved.files]
            elif path.suffix == ".h5":
                arrays(path)
        except Exception as error:
            raise NotHeldError(f"half a file: {path} ({error})") from error


def variables(version):
    """The bytes of all weights of a version; Keras writes them in any order.

    The integers are left out: where dropout's random numbers are at, which depends on
    whether the process has trained and does not reach what is served.
    """
    import tensorflow as tf

    saved = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    values = map(saved.get_tensor, saved.get_variable_to_shape_map())
    return sorted(
        (value.shape, value.tobytes())
        for value in values
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )


def same(one, other):
    """Whether two dicts of arrays are equal to the bit."""
    return one.keys() == other.keys() and all(
        value.tobytes() == other[name].tobytes()
        and np.shape(value) == np.shape(other[name])
        for name, value in one.items()
    )


def sentence(errors):
    """The last sentence of a program's errors."""
    lines = [line for line in errors.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in errors:
        raise NotHeldError(f"a stack trace: {lines[-1]}")
    said = [line for line in lines if line.startswith("error: ")]
    if len(said) != 1:
        raise NotHeldError(f"{len(said)} sentences: {' / '.join(lines[-3:])}")
    return said[0]


def refused(life, *words):
    """What a program said that must end with an error that has these words in it."""
    status = life.wait()
    if status != 1:
        raise NotHeldError(f"status {status}, expected 1: {life.errors[-300:]}")
    said = sentence(life.errors)
    for word in words:
        if str(word) not in said:
            raise NotHeldError(f"does not name {word}: {said}")
    return said
