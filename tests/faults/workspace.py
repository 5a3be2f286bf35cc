"""A folder with an undisturbed run, for starting other runs and comparing them."""

import functools
import itertools
import json
import random
import shutil

import numpy as np

from tests.faults import program
from tests.faults.case import FailedError
from tests.support.h5_arrays import arrays
from tests.support.small_runs import FLAGS
from tests.support.squares import write_squares

# Trains for seconds, with all kinds of state between epochs: seeds of dropout, averaged
# weights and the best epoch so far.
SETTINGS = {**FLAGS, "epochs": 3, "dropout": 0.3, "ema": 0.9, "probe_cost": 1.0}
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


class Workspace:
    """A folder with data and a finished, undisturbed run.

    Args:
        folder: The folder for all files. An undisturbed run in it is reused.
        kills: The number of kills of each script.
        seed: The seed of all random choices.
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
        # Started as users do; the forked processes must give equal results.
        first = program.start_script("fit", self.fitting(self.undisturbed, self.saved))
        printed, _ = first.communicate()
        if first.returncode:
            raise RuntimeError(f"The undisturbed run has failed: {printed[-2000:]}")

    def new(self, name):
        """Returns an unused path in the folder."""
        number = next(n for n in self.numbers if not [*self.folder.glob(f"{n}-*")])
        return self.folder / f"{number}-{name}"

    def copy(self, *without):
        """Copies the undisturbed run without some of its files."""
        return self.copy_of(self.undisturbed, *without)

    def copy_of(self, run, *without):
        """Copies a run without some of its files."""
        copied = shutil.copytree(run, self.new("copy"))
        for name in without:
            (copied / name).unlink()
        return copied

    @functools.cached_property
    def evaluated(self):
        """A copy of the undisturbed run with cached features and SVMs."""
        run = self.copy()
        process = self.evaluate(run, run / "evaluated.json")
        if process.wait() != 0:
            raise RuntimeError(f"The evaluation has failed: {process.errors[-2000:]}")
        return run

    @property
    def metrics(self):
        """The results of evaluating the undisturbed run."""
        return read_metrics(self.evaluated / "evaluated.json")

    def size(self, name):
        """Returns the size of a file of the undisturbed run in bytes."""
        return (self.undisturbed / name).stat().st_size

    def fitting(self, run, saved, *flags):
        """Returns the arguments of fit.py."""
        settings = {
            **SETTINGS,
            "data_dir": self.data,
            "output_dir": run,
            "saved_models": saved,
        }
        return [f"--{k}={v}" for k, v in settings.items()] + ["--calibrate", *flags]

    def start(self, script, *arguments, largest=None):
        """Starts a `ScriptProcess`; `largest` limits the size of its files in bytes."""
        return program.ScriptProcess(script, arguments, self.new(script), largest)

    def fit(self, run, saved, *flags, largest=None):
        """Starts fit.py, which begins or resumes the run."""
        arguments = self.fitting(run, saved, "--resume", *flags)
        return self.start("fit", *arguments, largest=largest)

    def evaluate(self, run, output, largest=None):
        """Starts evaluate.py with five views and SVMs."""
        flags = "--views=5", "--svm", f"--output={output}"
        return self.start("evaluate", f"--model_dir={run}", *flags, largest=largest)

    def finish(self, run):
        """Resumes a run to its end and compares it with the undisturbed run."""
        saved = self.new("saved")
        process = self.fit(run, saved)
        if process.wait() != 0:
            raise FailedError(f"cannot be resumed: {error_message(process.errors)}")
        self.must_equal(run, saved)
        return "resumed: bit-equal"

    def must_equal(self, run, saved):
        """Raises a `FailedError` if a run or its export differs from the undisturbed.

        Compares the bytes of weights, results, thresholds and histories.
        """
        for name in TEXTS:
            if (run / name).read_bytes() != (self.undisturbed / name).read_bytes():
                raise FailedError(f"different {name} in {run}")
        for name in WEIGHTS:
            one, other = arrays(run / name), arrays(self.undisturbed / name)
            if not same(one, other):
                raise FailedError(f"different weights in {run / name}")
        for path in [*run.rglob("partial-*"), *saved.rglob("partial-*")]:
            raise FailedError(f"left over: {path}")
        self.must_be_versions(saved / "csv")

    def must_be_versions(self, folder):
        """Raises a `FailedError` if a version differs from the undisturbed one."""
        for version in versions(folder):
            must_be_whole(version)
            for name in VERSION[-3:]:
                if (version / name).read_bytes() != (self.version / name).read_bytes():
                    raise FailedError(f"different {name} in {version}")
            if variables(version) != variables(self.version):
                raise FailedError(f"different variables in {version}")


def read_metrics(path):
    """Reads the JSON file of evaluate.py."""
    return json.loads(path.read_text())


def versions(folder):
    """Returns the numbered version folders of a SavedModel."""
    return [p for p in folder.glob("*") if p.name.isdecimal()]


def must_be_whole(version):
    """Raises a `FailedError` if a file of a version is missing or empty."""
    for name in VERSION:
        path = version / name
        if not path.is_file() or not path.stat().st_size:
            raise FailedError(f"incomplete version: no {path}")


def must_be_readable(run):
    """Raises a `FailedError` if a file of a run is incomplete."""
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
            raise FailedError(f"incomplete file: {path} ({error})") from error


def variables(version):
    """Returns the bytes of all weights of a version, sorted, as Keras writes any order.

    Integers are left out: the state of dropout's random numbers depends on whether the
    process has trained, and has no effect on the scores.
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
    """Returns whether two dicts of arrays are bit-equal."""
    return one.keys() == other.keys() and all(
        value.tobytes() == other[name].tobytes()
        and np.shape(value) == np.shape(other[name])
        for name, value in one.items()
    )


def error_message(errors):
    """Returns the only error message; raises a `FailedError` on a stack trace."""
    lines = [line for line in errors.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in errors:
        raise FailedError(f"a stack trace: {lines[-1]}")
    messages = [line for line in lines if line.startswith("error: ")]
    if len(messages) != 1:
        raise FailedError(f"{len(messages)} messages: {' / '.join(lines[-3:])}")
    return messages[0]


def refusal(process, *words):
    """Returns the error message of a script that must exit with 1 and name `words`."""
    status = process.wait()
    if status != 1:
        raise FailedError(f"status {status}, expected 1: {process.errors[-300:]}")
    message = error_message(process.errors)
    for word in words:
        if str(word) not in message:
            raise FailedError(f"does not name {word}: {message}")
    return message
