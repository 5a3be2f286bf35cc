"""A lock is one process's, and ends with it."""

import errno
import fcntl

import pytest
from at_work import at_work

from ram_tf import lock


def test_a_lock_of_another_process_is_refused_and_its_holder_named(tmp_path):
    path = tmp_path / "lock"
    with at_work(path) as process:
        with pytest.raises(BlockingIOError, match="Another process") as refused:
            lock.take(path)
        assert str(refused.value).endswith(f"{path}, held by process {process.pid}")


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    with at_work(path) as process:
        process.kill()
        process.wait()
        assert path.exists()
        lock.take(path)


def test_a_process_takes_its_own_lock_again(tmp_path):
    assert lock.take(tmp_path / "lock")
    assert lock.take(tmp_path / "." / "lock")


def test_a_released_lock_is_free_and_leaves_no_file(tmp_path):
    path = tmp_path / "lock"
    lock.take(path)
    lock.release(path)
    assert list(tmp_path.iterdir()) == []
    with at_work(path), pytest.raises(BlockingIOError):
        lock.take(path)


def test_a_file_system_without_locks_is_named(tmp_path, capsys, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert not lock.take(tmp_path / "lock")
    assert str(tmp_path / "lock") in capsys.readouterr().err
    lock.release(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="missing"):
        lock.take(tmp_path / "missing" / "lock")
