"""Tests that training on several devices or workers gives the weights of one device."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.devices import cluster
from ram_tf.training import devices as devices_module
from ram_tf.training.devices import Devices
from tests.support.h5_arrays import arrays
from tests.support.paths import ROOT
from tests.support.small_settings import BY_CONTENT, SMALL
from tests.support.train_on_devices import CASES, train_cases

STEPS = str(ROOT / "tests" / "support" / "train_on_devices.py")
FIT = str(ROOT / "scripts" / "fit.py")
# Adam divides by the size of the gradients, which amplifies rounding errors.
TOLERANCE = {"sgd": 1e-5, "adam": 1e-4, "rarl": 1e-5}


def start(*command, tf_config=None):
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str(ROOT), inherited])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if tf_config:
        environment["TF_CONFIG"] = tf_config
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes, timeout=600):
    """Waits for all, and returns the status and the output of each."""
    outputs = [process.communicate(timeout=timeout) for process in processes]
    return [
        (process.returncode, "".join(output))
        for process, output in zip(processes, outputs, strict=True)
    ]


def succeed(processes):
    for status, output in finish(processes):
        assert status == 0, output[-3000:]


@pytest.fixture(scope="module")
def one_device(squares):
    """A cached function from a case to its results on one device."""
    return functools.cache(lambda case: train_cases(Devices(), str(squares), [case]))


def on_two_devices(squares, folder, *cases):
    succeed([start(STEPS, squares, folder / "two", "--devices", 2, "--cases", *cases)])
    found = dict(np.load(folder / "two-0.npz"))
    assert found["count"] == 2
    return found


@pytest.fixture(scope="module")
def two_devices(squares, tmp_path_factory):
    return on_two_devices(squares, tmp_path_factory.mktemp("devices"), "adam")


@pytest.fixture(scope="module")
def two_workers(squares, tmp_path_factory):
    output = tmp_path_factory.mktemp("workers") / "two"
    succeed([start(STEPS, squares, output, tf_config=text) for text in cluster(2)])
    return [dict(np.load(f"{output}-{position}.npz")) for position in range(2)]


def assert_equal_to_one_device(found, expected, case):
    names = [name for name in expected if name.startswith(f"{case}/")]
    assert any("history" in name for name in names)
    for name in names:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=TOLERANCE[case], err_msg=name
        )


def test_two_devices_end_with_the_weights_and_history_of_one(two_devices, one_device):
    assert_equal_to_one_device(two_devices, one_device("adam"), "adam")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sgd", "rarl"])
def test_two_devices_equal_one_with_other_optimisers_and_models(
    squares, one_device, tmp_path, case
):
    two_devices = on_two_devices(squares, tmp_path, case)
    assert_equal_to_one_device(two_devices, one_device(case), case)


def test_the_batch_size_is_one_that_devices_share_equally(two_devices):
    assert two_devices["shared"] == 4  # of 5
    assert Devices().even_batch_size(5) == 5


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_workers_end_with_the_weights_and_history_of_one_device(
    two_workers, one_device, case
):
    for worker in two_workers:
        assert worker["count"] == 2
        assert_equal_to_one_device(worker, one_device(case), case)


@pytest.mark.slow
def test_the_value_that_the_chief_broadcasts_reaches_every_worker(two_workers):
    assert [str(worker["broadcast"]) for worker in two_workers] == ["ä True"] * 2


@pytest.mark.slow
def test_every_worker_refuses_data_that_differ_between_workers(two_workers):
    for worker, place in zip(two_workers, ("is", "differs from"), strict=True):
        assert "do not have the same numbers" in str(worker["refused"])
        assert f"this worker {place} the chief" in str(worker["refused"])


@pytest.mark.slow
def test_settings_that_several_workers_cannot_train_with_are_refused(two_workers):
    for worker in two_workers:
        refused = str(worker["refused"]).splitlines()
        assert refused[-1].endswith("Received: region_source=proposals")


def test_settings_that_several_devices_cannot_train_with_are_refused(two_devices):
    refused = str(two_devices["refused"]).splitlines()
    for sentence, setting in zip(
        refused,
        (
            "1",  # image for two devices
            "batch_size=9",
            "jit_compile=True",
            "precision=mixed_float16",
        ),
        strict=True,
    ):
        assert sentence.endswith(f"Received: {setting}")


def fit_flags(data_dir, folder, **changes):
    settings = {
        "dataset": "csv",
        "data_dir": data_dir,
        "backbone": "small",
        "weights": "none",
        "image_size": SMALL.image.image_size,
        "crop_margin": SMALL.image.crop_margin,
        "region_size": SMALL.attention.region_size,
        "regions": 2,
        "units": 16,
        "loss": "bce",
        "batch_size": 8,
        "pooled_epochs": 2,
        "epochs": 3,
        "probe_cost": 0.1,
        "ema": 0.9,
        "dropout": 0.3,
        "pooled_learning_rate": 1e-3,
        "learning_rate": 1e-3,
        "output_dir": folder,
        "saved_models": folder / "saved",
    }
    settings |= changes
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in settings.items()
    ]


def fit_on_two_workers(data_dir, folder):
    """Starts both; the second has another output folder, as on another machine."""
    return [
        start(FIT, *fit_flags(data_dir, each), "--resume", tf_config=text)
        for each, text in zip((folder, folder / "of_worker"), cluster(2), strict=True)
    ]


@pytest.fixture(scope="module")
def undisturbed_workers(squares, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers") / "undisturbed"
    succeed(fit_on_two_workers(squares, folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("which", ["chief", "worker"])
def test_workers_resume_after_one_is_killed_and_only_the_chief_writes(
    which, undisturbed_workers, squares, tmp_path
):
    killed = tmp_path / "killed"
    both = dict(
        zip(("chief", "worker"), fit_on_two_workers(squares, killed), strict=True)
    )
    end_of_epoch = killed / "step2" / "checkpoint.npz"
    while not end_of_epoch.exists() and both["chief"].poll() is None:
        time.sleep(0.02)
    victim = both.pop(which)
    os.kill(victim.pid, signal.SIGKILL)
    (status, output), (signalled, _) = finish([*both.values(), victim])
    assert signalled == -signal.SIGKILL
    assert status == 1
    assert "error: A worker has ended or cannot be reached" in output
    assert not (killed / "model.weights.h5").exists()
    succeed(fit_on_two_workers(squares, killed))

    # The checkpoint, because the final weights may be those of an early epoch.
    for step in ("step1", "step2"):
        expected, resumed = (
            dict(np.load(folder / step / "checkpoint.npz"))
            for folder in (undisturbed_workers, killed)
        )
        assert expected.keys() == resumed.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    for folder in (undisturbed_workers, killed):
        assert (folder / "saved" / "csv" / "1" / "saved_model.pb").exists()
        assert not (folder / "of_worker").exists()


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, BY_CONTENT])
def test_fit_on_two_devices_reports_and_exports_what_fit_on_one_does(
    squares, tmp_path, more
):
    found = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        flags = [*fit_flags(squares, folder, **more), "--dropout", 0]
        succeed([start(FIT, *flags, "--devices", count)])
        assert [path.name for path in (folder / "saved" / "csv").iterdir()] == ["1"]
        found.append(json.loads((folder / "results.json").read_text()))
    one, two = (
        np.array([each["AP"][name] for name in sorted(each["AP"])], float)
        for each in found
    )
    np.testing.assert_allclose(two, one, atol=1e-3)
    # The best weights, which may be the initial ones, and the last ones.
    best = [arrays(tmp_path / str(n) / "model.weights.h5") for n in (1, 2)]
    assert_close(*best, atol=1e-5)
    last = [
        numbers(np.load(tmp_path / str(n) / "step2" / "checkpoint.npz")) for n in (1, 2)
    ]
    assert_close(*last, atol=1e-5)


def numbers(checkpoint):
    """The arrays of a checkpoint that hold numbers, by name."""
    found = {name: checkpoint[name] for name in checkpoint}
    return {name: each for name, each in found.items() if each.dtype.kind in "fiu"}


def assert_close(found, expected, atol):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=atol, err_msg=name)


@pytest.mark.slow
def test_a_worker_exits_after_a_timeout_if_another_is_missing():
    waiting = "from ram_tf.training.devices import Devices; Devices.start(timeout=1)"
    process = start("-c", waiting, tf_config=cluster(2)[0])
    ((status, output),) = finish([process], timeout=120)
    assert status == 1
    assert "worker 1 of 2: waiting" in output
    assert "exits if they are not there after 1 seconds" in output


def test_one_device_broadcasts_nothing():
    devices = Devices.start()
    assert (devices.count, devices.workers, devices.chief) == (1, 1, True)
    assert devices.broadcast({"any": None}) == {"any": None}


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_devices_below_1_is_refused(count):
    with pytest.raises(ValueError, match=f"Received: --devices {count}"):
        Devices.start(count)


def config_of(kind, index, **jobs):
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (config_of("worker", 1, worker=["a:1", "b:1"]), 1),
        (config_of("chief", 0, worker=["a:1"], chief=["b:1"]), 0),
        (config_of("worker", 0, worker=["a:1"], chief=["b:1"]), 1),
        (config_of("worker", 0, worker=["a:1"]), 0),
    ],
)
def test_the_chief_has_position_0(text, position):
    assert devices_module._cluster(text)[1] == position


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        config_of("worker", 2, worker=["a:1", "b:1"]),
        config_of("ps", 0, worker=["a:1", "b:1"], ps=["c:1"]),
        config_of("worker", 0, worker=["a:1", "a:1"]),
        json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}),
    ],
)
def test_an_invalid_tf_config_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG cannot be used"):
        Devices.start()


def test_a_number_of_devices_is_refused_with_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", cluster(2)[0])
    with pytest.raises(ValueError, match="Received: --devices 2"):
        Devices.start(2)
