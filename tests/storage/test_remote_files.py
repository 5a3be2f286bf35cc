"""Files of a batch, local and on other storages; and their patterns."""

import os
import uuid

import fsspec
import pytest

from ram_tf.storage import remote_files as files

NAMES = ("a1.png", "a2.png", "ab.png", "a[1].png", "b/a1.png", "b/c/a]\n.jpg")


@pytest.fixture(params=["local", "file", "memory"])
def folder(request, tmp_path):
    """A folder of each kind, with a file of each of the `NAMES`."""
    path = {
        "local": str(tmp_path),
        "file": f"file://{tmp_path}",  # can rename
        "memory": f"memory://{uuid.uuid4()}",  # cannot
    }[request.param]
    for name in NAMES:
        files.make_folder(files.join(path, os.path.dirname(name)))
        files.write(files.join(path, name), name.encode())
    return path


def test_files_are_listed_through_all_levels_and_read(folder):
    assert files.list_files(folder) == [
        (name, f"{folder}/{name}") for name in sorted(NAMES)
    ]
    for name in NAMES:
        path = files.join(folder, name)
        assert files.exists(path)
        assert files.read(path) == name.encode()
        with files.open_file(path) as file:
            assert file.read() == name.encode()
    assert files.exists(folder)
    assert not files.exists(f"{folder}/none")
    assert files.list_files(f"{folder}/none") == []


def test_a_file_is_replaced_and_deleted(folder):
    path = f"{folder}/ab.png"
    files.write(path, b"new")
    assert files.read(path) == b"new"
    files.delete(path)
    assert not files.exists(path)
    assert len(files.list_files(folder)) == len(NAMES) - 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a1.png", "a2.png", "a[1].png", "ab.png"]),
        ("a?.png", ["a1.png", "a2.png", "ab.png"]),
        ("b?a1.png", []),
        ("**.png", ["a1.png", "a2.png", "a[1].png", "ab.png", "b/a1.png"]),
        ("**/a*", ["b/a1.png", "b/c/a]\n.jpg"]),
        ("b/*/a*.jpg", ["b/c/a]\n.jpg"]),
        ("b/**", ["b/a1.png", "b/c/a]\n.jpg"]),
        ("a[12].png", ["a1.png", "a2.png"]),
        ("a[0-9].png", ["a1.png", "a2.png"]),
        ("a[!0-9].png", ["ab.png"]),
        ("a[^1].png", ["a1.png"]),
        ("b/c/a[]x]?.jpg", ["b/c/a]\n.jpg"]),
        ("a[[]1].png", ["a[1].png"]),
        ("a[1*.png", ["a[1].png"]),
        ("a[]*.png", []),
        ("none/*", []),
    ],
)
def test_a_pattern_matches(folder, pattern, expected):
    found = files.match(f"{folder}/{pattern}")
    assert found == [f"{folder}/{name}" for name in expected]


def test_a_pattern_without_a_folder_is_for_the_current_one(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/a.png"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert files.match("*.png") == ["a.png"]
    assert files.match("**.png") == ["a.png", "b/a.png"]
    assert files.match("./b/*") == ["./b/a.png"]


def test_a_damaged_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match="The pattern is damaged"):
        files.match(f"{tmp_path}/[z-a]")


@pytest.mark.parametrize("name", ["a::b", "~", "~a", "a:/b", "s3:"])
def test_a_path_without_a_scheme_is_local(tmp_path, monkeypatch, name):
    (tmp_path / "a:").mkdir()
    monkeypatch.chdir(tmp_path)
    files.write(name, b"content")
    assert (tmp_path / name).read_bytes() == files.read(name) == b"content"


def test_a_file_is_seen_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the process is killed")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        files.write(f"{tmp_path}/a", b"content")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("partial-")


@pytest.mark.parametrize("action", [files.read, files.exists, files.list_files])
def test_a_storage_that_is_unknown_or_lacks_its_package_is_named(action):
    fsspec.register_implementation(
        "absent", "no_such_package.Storage", clobber=True, errtxt="Install the package"
    )
    for path, reason in (
        ("nowhere://a", "Protocol not known: nowhere"),
        ("absent://a", "Install the package"),
    ):
        with pytest.raises(OSError, match=f"cannot be used.*{path} .{reason}"):
            action(path)
