"""Tests atomic writes and checksums of files."""

import hashlib
import signal
import subprocess
import sys

import pytest

from ram_tf.storage import atomic_files
from ram_tf.storage.atomic_files import atomic_write, write_with_checksum
from tests.support.full_disk import full_above
from tests.support.paths import ROOT


def test_an_atomic_write_keeps_the_old_content_until_it_is_complete(tmp_path):
    path = tmp_path / "text.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "whole"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_atomic_write_leaves_only_the_old_content(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    with atomic_write(tmp_path / "model.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.touch()


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "large.txt"
    path.write_text("old")
    with (
        full_above(1000),
        pytest.raises(OSError, match="cannot be written") as refused,
        atomic_write(path) as temporary,
    ):
        temporary.write_text("x" * 2000)
    assert str(path) in str(refused.value)
    assert "File too large" in str(refused.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write(path, text):
    with write_with_checksum(path) as temporary:
        temporary.write_text(text)


def test_a_file_with_a_checksum_is_read_as_it_was_written(tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "a.txt", text)
        assert atomic_files.read(tmp_path / "a.txt") == text.encode()
        assert atomic_files.read_text(tmp_path / "a.txt") == text


def test_checksum_files_have_the_format_of_sha256sum(tmp_path):
    write(tmp_path / "a.txt", "content")
    expected = f"{hashlib.sha256(b'content').hexdigest()}  a.txt\n"
    assert (tmp_path / "checksums" / "a.txt").read_text() == expected
    assert atomic_files.fingerprint(tmp_path / "a.txt") == expected.split()[0]


@pytest.mark.parametrize("changed", ["aontent", "content.", "conten", ""])
def test_a_changed_file_is_refused_and_named(tmp_path, changed):
    path = tmp_path / "a.txt"
    write(path, "content")
    path.write_text(changed)
    with pytest.raises(ValueError, match="changed since it was written") as refused:
        atomic_files.read(path)
    assert str(refused.value).endswith(f"Received: {path}")
    assert str(tmp_path / "checksums" / "a.txt") in str(refused.value)


@pytest.mark.parametrize("corrupt", [b"", b"\xff\x00", b"0  a.txt\n"])
def test_a_file_with_a_corrupt_checksum_is_refused(tmp_path, corrupt):
    write(tmp_path / "a.txt", "content")
    (tmp_path / "checksums" / "a.txt").write_bytes(corrupt)
    with pytest.raises(ValueError, match="changed since it was written"):
        atomic_files.read(tmp_path / "a.txt")


def test_a_file_without_a_checksum_is_read(tmp_path):
    (tmp_path / "old.txt").write_text("of an older release")
    assert atomic_files.read_text(tmp_path / "old.txt") == "of an older release"


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"not text.*a\.txt"):
        atomic_files.read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("renames", range(4))
def test_a_process_killed_between_its_renames_leaves_a_readable_file(tmp_path, renames):
    path = tmp_path / "a.txt"
    write(path, "old")
    writer = (
        "import os, signal, sys\n"
        "from ram_tf.storage import atomic_files\n"
        "left, rename = int(sys.argv[2]), os.replace\n"
        "def replace(*paths):\n"
        "    global left\n"
        "    if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left -= 1\n"
        "    rename(*paths)\n"
        "os.replace = replace\n"
        "with atomic_files.write_with_checksum(sys.argv[1]) as file:\n"
        "    file.write_text('new')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", writer, path, str(renames)],
        check=False,
        cwd=ROOT,
    )
    # Three renames: both checksums, the file, and its checksum alone.
    assert done.returncode == (-signal.SIGKILL if renames < 3 else 0)
    assert atomic_files.read_text(path) == ("old" if renames < 2 else "new")
    write(path, "newer")
    assert atomic_files.read_text(path) == "newer"
