"""Workers of one machine, as real processes: places, statuses, restarts, signals."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ram_tf.training.local_workers import LocalWorkers
from tests.support.paths import ROOT
from tests.support.small_runs import FLAGS

# Each worker writes what it was given; what else it does, `then` says.
NOTE = """
import json, os, pathlib, signal, sys, time
config = json.loads(os.environ["TF_CONFIG"])
index = config["task"]["index"]
folder = pathlib.Path(sys.argv[1])
number = len([*folder.glob(f"{index}-*")])
gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
note = {"config": config, "gpus": gpus, "args": sys.argv[2:]}
(folder / f"{index}-{number}").write_text(json.dumps(note))
"""


def workers(folder, then="", **options):
    command = [sys.executable, "-c", NOTE + then, str(folder)]
    return LocalWorkers(command, 2, **options)


def notes(folder):
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir()}


def test_each_worker_has_its_place_in_one_cluster(tmp_path):
    assert workers(tmp_path).run() == 0
    found = notes(tmp_path)
    assert set(found) == {"0-0", "1-0"}
    one, other = (found[name]["config"] for name in ("0-0", "1-0"))
    assert one["cluster"] == other["cluster"]
    assert len(set(one["cluster"]["worker"])) == 2
    assert [each["task"]["index"] for each in (one, other)] == [0, 1]


def test_gpus_are_divided(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert workers(tmp_path).run() == 0
    found = notes(tmp_path)
    assert [found[name]["gpus"] for name in ("0-0", "1-0")] == ["0,2", "1,3"]


def test_all_are_started_again_with_resume_after_one_is_killed(tmp_path, capsys):
    then = "if index and not number: os.kill(os.getpid(), signal.SIGKILL)\n"
    then += "if not number: sys.exit(1)  # as the others end then"
    assert workers(tmp_path, then, resume=["--resume"]).run() == 0
    found = notes(tmp_path)
    assert set(found) == {"0-0", "0-1", "1-0", "1-1"}
    assert [found[n]["args"] for n in ("0-0", "0-1")] == [[], ["--resume"]]
    assert "lost: worker 2 of 2" in capsys.readouterr().err


def test_restarts_are_counted(tmp_path):
    then = "if index: os.kill(os.getpid(), signal.SIGKILL)"
    assert workers(tmp_path, then, restarts=2).run() == 128 + signal.SIGKILL
    assert len(notes(tmp_path)) == 6


def test_a_command_that_fails_is_not_repeated(tmp_path):
    assert workers(tmp_path, "sys.exit(2)").run() == 2
    assert len(notes(tmp_path)) == 2


def test_lines_of_other_workers_have_their_number(tmp_path, capfd):
    assert workers(tmp_path, "print('trained')").run() == 0
    assert sorted(capfd.readouterr().out.splitlines()) == [
        "trained",
        "worker 2: trained",
    ]


def test_a_signal_is_passed_on(tmp_path):
    program = (
        "import sys; from ram_tf.training.local_workers import LocalWorkers; "
        "sys.exit(LocalWorkers(sys.argv[1:], 2).run())"
    )
    worker = [sys.executable, "-c", NOTE + "time.sleep(60)", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *worker],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    while len([*tmp_path.iterdir()]) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143


@pytest.mark.slow
def test_a_launched_run_ends_as_an_undisturbed_one_after_a_worker_is_killed(
    squares, tmp_path
):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder, kills in ((undisturbed, False), (disturbed, True)):
        flags = {
            **FLAGS,
            "data_dir": squares,
            "output_dir": folder,
            "saved_models": folder / "saved",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "ram_tf", "launch", "--workers", "2", "fit"]
            + [f"--{name}={value}" for name, value in flags.items()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if kills:
            while not (folder / "step1" / "checkpoint.npz").exists():
                assert process.poll() is None
                time.sleep(0.02)
            os.kill(worker_of(process.pid), signal.SIGKILL)
        assert process.wait(600) == 0
    for step in ("step1", "step2"):
        expected, resumed = (
            dict(np.load(folder / step / "checkpoint.npz"))
            for folder in (undisturbed, disturbed)
        )
        for name, value in expected.items():
            np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def worker_of(parent):
    """Returns the process of worker 2, a child of the launcher."""
    children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
    for child in children.split():
        variables = pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if any(b'"index": 1' in each for each in variables):
            return int(child)
    raise AssertionError("worker 2 is not running")
