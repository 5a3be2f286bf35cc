"""Runs the scripts in the process of a test."""

import importlib.util

from ram_tf.cli import command
from tests.support.paths import ROOT

# A run of fit.py that takes seconds; --data_dir and --output_dir are to be added.
SMALL_FLAGS = (
    "--dataset=csv --backbone=small --weights=none --image_size=40 --crop_margin=8 "
    "--regions=2 --region_size=4 --units=16 --batch_size=8 "
    "--pooled_epochs=1 --epochs=1 --frozen=0 --learning_rate=1e-3"
).split()


def load(name):
    """Returns a script as a module."""
    # By path, because `scripts` is not a package.
    path = ROOT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(name):
    """Returns a function that runs a script with arguments and returns its status."""
    module = load(name)
    return lambda *arguments: command.run(module.main, [str(a) for a in arguments])


def fit_error(capsys, *arguments):
    """Runs fit.py, expects it to fail, and returns its one sentence."""
    assert script("fit")(*arguments) == 1
    error = capsys.readouterr().err.splitlines()
    (sentence,) = (line for line in error if line.startswith("error: "))
    assert "Traceback" not in "".join(error)
    return sentence
