"""Tests that a lock belongs to one process and ends with it."""

import errno
import fcntl
import subprocess
import sys

import pytest

from ram_tf.storage import locks
from tests.support.lock_holder import at_work
from tests.support.paths import ROOT


def test_a_lock_of_another_process_is_refused_and_its_holder_named(tmp_path):
    path = tmp_path / "lock"
    with at_work(path) as process:
        with pytest.raises(BlockingIOError, match="Another process") as refused:
            locks.take(path)
        assert str(refused.value).endswith(f"{path}, held by process {process.pid}")


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    with at_work(path) as process:
        process.kill()
        process.wait()
        assert path.exists()
        locks.take(path)


def test_a_process_takes_its_own_lock_again(tmp_path):
    assert locks.take(tmp_path / "lock")
    assert locks.take(tmp_path / "." / "lock")


def test_a_released_lock_is_free_and_leaves_no_file(tmp_path):
    path = tmp_path / "lock"
    locks.take(path)
    locks.release(path)
    assert list(tmp_path.iterdir()) == []
    with at_work(path), pytest.raises(BlockingIOError):
        locks.take(path)


def test_a_lock_whose_file_was_removed_can_be_released(tmp_path):
    path = tmp_path / "lock"
    locks.take(path)
    path.unlink()
    locks.release(path)
    with at_work(path), pytest.raises(BlockingIOError):
        locks.take(path)


def test_releasing_a_removed_lock_keeps_the_new_lock_of_another_process(tmp_path):
    path = tmp_path / "lock"
    locks.take(path)
    path.unlink()
    with at_work(path):
        locks.release(path)
        with pytest.raises(BlockingIOError):
            locks.take(path)


def test_processes_that_take_and_release_a_lock_run_one_at_a_time(tmp_path):
    # Each process creates a folder while it holds the lock, which fails for a second.
    program = (
        "import os, sys, time\n"
        "from ram_tf.storage import locks\n"
        "path, end = sys.argv[1], time.monotonic() + 2\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        locks.take(path)\n"
        "    except BlockingIOError:\n"
        "        continue\n"
        "    os.mkdir(path + '.one')\n"
        "    os.rmdir(path + '.one')\n"
        "    locks.release(path)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    several = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate()[1] for process in several]
    assert errors == [""] * 3


def test_a_file_system_without_locks_is_named(tmp_path, capsys, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert not locks.take(tmp_path / "lock")
    assert str(tmp_path / "lock") in capsys.readouterr().err
    locks.release(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="missing"):
        locks.take(tmp_path / "missing" / "lock")
