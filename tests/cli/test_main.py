"""Tests of `ram-tf`: its commands, its doors, and that help does not wait."""

import configparser
import importlib
import re
import subprocess
import sys

import pytest

import ram_tf
from ram_tf.cli import info, main
from tests.support.paths import ROOT
from tests.support.scripts import load

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
HEAVY = {"tensorflow", "keras", "matplotlib", "scipy", "sklearn", "PIL", "requests"}
# Those that describe the metrics of papers load NumPy.
WITH_NUMPY = ("evaluate", "report")


def ram(*arguments):
    """Runs `python -m ram_tf` and returns the finished process."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ram_tf", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def loaded(done):
    """The top packages that a process of `ram` has imported."""
    return set(re.findall(r"^import time:.*\| +(\w+)", done.stderr, re.M))


def test_the_help_names_each_command_with_the_first_line_of_its_own(capsys):
    assert main.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in main.COMMANDS:
        module = importlib.import_module(f"ram_tf.cli.{name}")
        first = module.__doc__.splitlines()[0]
        assert re.search(rf"^  {name} +{re.escape(first)}$", shown, re.M), name


def test_the_help_of_all_commands_loads_neither_tensorflow_nor_numpy():
    done = ram("--help")
    assert done.returncode == 0
    assert "  fit " in done.stdout
    assert not loaded(done) & {*HEAVY, "numpy"}
    assert "ram_tf" in loaded(done)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_help_of_a_command_does_not_load_tensorflow(name):
    done = ram(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: ram-tf {name} ")
    assert f"\n    ram-tf {name}" in done.stdout
    allowed = {"numpy"} if name in WITH_NUMPY else set()
    assert not loaded(done) & {*HEAVY, "numpy"} - allowed


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_the_door_of_a_command_and_says_so(name):
    door = load(name)
    command = door.main.__module__.removeprefix("ram_tf.cli.")
    assert command in main.COMMANDS
    first, *_, last = door.__doc__.strip().splitlines()
    assert f"`ram-tf {command}`" in last
    assert first == sys.modules[door.main.__module__].__doc__.splitlines()[0]


def test_the_installed_command_is_the_same_function():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    text = setup["options.entry_points"]["console_scripts"].strip()
    assert text == "ram-tf = ram_tf.cli.main:main"
    assert callable(main.main)


def test_an_unknown_command_is_refused_with_the_known_ones(capsys):
    assert main.main(["train"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Unknown command. Expected one of: fit, launch, ")
    assert error.endswith("Received: train\n")


def test_without_a_command_the_help_is_shown_and_the_status_is_that_of_a_usage(capsys):
    assert main.main([]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert "  predict " in shown.err


def test_the_version_is_printed(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ram-tf {ram_tf.__version__}\n"


def test_a_command_reports_its_errors_in_one_sentence(tmp_path, capsys):
    assert main.main(["compare", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: This is no folder of a run.")


def test_info_prints_versions_devices_cores_and_memory(capsys):
    assert main.main(["info"]) == 0
    rows = dict(re.split(r" {2,}", x) for x in capsys.readouterr().out.splitlines())
    assert rows["ram_tf"] == ram_tf.__version__
    for name in ("tensorflow", "keras", "numpy"):
        assert rows[name] == importlib.import_module(name).__version__
    assert rows["Python"].startswith(f"{sys.version_info.major}.")
    assert rows["CPU:0"]
    assert rows["memory"].endswith(" GiB")
    assert " of " in rows["cores"]


def test_info_reports_a_tensorflow_that_cannot_be_imported(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert info.main([]) == 0
    assert "TensorFlow cannot be imported: " in capsys.readouterr().out
