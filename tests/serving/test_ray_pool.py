"""Batches with Ray: repeated shards, a local Ray, and a cluster that loses a node."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

import pytest

from benchmarks import processes
from benchmarks.ray_cluster import RayCluster
from ram_tf.serving.batch.batch_folder import Batch
from tests.support.batch_inputs import (
    REASONS,
    arguments,
    lines,
    mixed,
    write_broken,
)
from tests.support.paths import ROOT

pytest.importorskip("ray", reason="needs the extra ray")

from ram_tf.serving.batch.ray_pool import ShardPredictor

COMMAND = (sys.executable, str(ROOT / "scripts" / "predict_batch.py"), "--engine=ray")
SECONDS = 240  # for what takes a few, on a machine with other work


@pytest.fixture(scope="module")
def images(squares, tmp_path_factory):
    return mixed(squares, write_broken(tmp_path_factory.mktemp("broken")))


def run(*flags):
    """Runs predict_batch.py with Ray, and returns the finished process."""
    # Not in this process: Ray would leave threads and settings of logging.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}  # or ~ has one
    done = subprocess.run(
        [*COMMAND, *flags],
        env={**os.environ, **token},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "actor restart" not in done.stderr  # what Ray says of its own pools
    return done


def sentence(done):
    """The one sentence with which a process has failed."""
    assert done.returncode == 1
    (found,) = (x for x in done.stderr.splitlines() if x.startswith("error: "))
    return found


def wait_until(condition):
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def answered(folder):
    """The images of the records and those without one, each in order."""
    return [[each["image"] for each in lines(folder, k)] for k in ("part", "unread")]


def expected(images):
    broken = [path for path in images if pathlib.Path(path).name in REASONS]
    return [[path for path in images if path not in broken], broken]


def test_a_shard_is_predicted_once_even_if_ray_repeats_it(version, images, tmp_path):
    batch = Batch.open(str(tmp_path), images, str(version), "jsonl", 6)
    predictor = ShardPredictor(batch, os.getcwd(), str(version), batch_size=4)
    for number in range(4):
        assert predictor({"item": number}) == {"item": number, "failure": None}
    assert answered(tmp_path) == expected(images)
    assert not batch.unfinished()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    predictor({"item": 2})
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_batch_is_predicted_resumed_and_counted(version, images, tmp_path):
    flags = arguments(version, images, tmp_path / "out", "--address", "local")
    done = run(*flags, "--concurrency", "1")
    assert done.returncode == 0, done.stderr
    assert answered(tmp_path / "out") == expected(images)
    reasons = [each["reason"] for each in lines(tmp_path / "out", "unread")]
    assert reasons == [*REASONS.values()]
    (tmp_path / "out" / "part-00001-of-00004.jsonl").unlink()
    done = run(*flags)
    assert "3 of 4 shards are finished" in done.stdout
    rows = {row.rsplit(maxsplit=2)[0]: row.split() for row in done.stdout.splitlines()}
    assert rows["predicted"][-2:] == ["5", "17"]
    assert answered(tmp_path / "out") == expected(images)


def test_a_shard_that_fails_is_reported_in_one_line(version, images, tmp_path):
    flags = arguments(version, images, tmp_path / "out", "--address", "local")
    Batch.open(str(tmp_path / "out"), images, str(version), "jsonl", 6)
    (tmp_path / "out" / "unread-00002-of-00004.jsonl" / "in the way").mkdir(
        parents=True
    )
    error = sentence(run(*flags))
    assert error.startswith("error: The batch failed; start it again for the remaining")
    assert "Is a directory" in error


def test_a_cluster_that_does_not_exist_is_reported_in_one_line(
    version, images, tmp_path
):
    flags = arguments(version, images, tmp_path / "o", "--address", "127.0.0.1:1")
    assert "127.0.0.1:1" in sentence(run(*flags))


class Gate:
    """An image at which its reader waits: a named pipe."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = str(path)
        self.writer = None

    def is_reached(self):
        """Whether somebody has opened it to read."""
        with contextlib.suppress(OSError):
            self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        return self.writer is not None

    def open(self, content):
        """Gives the content to the reader; False if nobody reads."""
        try:
            assert os.write(self.writer, content) == len(content)
        except BrokenPipeError:
            return False
        os.close(self.writer)
        return True


@pytest.mark.slow
def test_each_image_is_answered_once_though_a_node_is_lost(
    version, squares, images, tmp_path
):
    many = (images * 10)[:200]
    gates = [Gate(tmp_path / "gate-0.png"), Gate(tmp_path / "gate-1.png")]
    for place, gate in zip((70, 130), gates, strict=True):
        many[place] = gate.path
    flags = arguments(version, many, tmp_path / "out", "--shard_size", "5")
    # Relative paths begin in the folder of the command, not in those of the nodes.
    flags += ["--output_dir", "out", "--concurrency", "2"]
    with RayCluster(nodes=2) as cluster:
        started = subprocess.Popen(
            [*COMMAND, *flags, "--address", cluster.address],
            cwd=tmp_path,
            env=cluster.environment,
        )
        try:
            # Each of the two nodes has one actor, which is within a shard.
            for gate in gates:
                wait_until(gate.is_reached)
            cluster.remove_node()
            assert len([*(tmp_path / "out").glob("part-*")]) < 40
            cluster.add_node()
            for gate in gates:
                content = (squares / "val0.png").read_bytes()
                wait_until(lambda gate=gate, content=content: gate.open(content))
            assert started.wait(SECONDS) == 0
        finally:
            processes.kill(started)
    assert answered(tmp_path / "out") == expected(many)
    assert {path.name.partition("-")[0] for path in (tmp_path / "out").iterdir()} == {
        *("part", "unread", "manifest.json", "images.jsonl")
    }
