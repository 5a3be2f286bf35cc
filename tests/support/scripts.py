"""The scripts, run in the process of a test."""

import importlib.util

from ram_tf.cli import command
from tests.support.paths import ROOT


def script(name):
    """Loads a script by path, since `scripts` is no package."""
    path = ROOT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: command.run(module.main, [str(a) for a in arguments])
