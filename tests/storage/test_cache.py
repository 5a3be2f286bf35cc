"""Tests the cache of model outputs: its keys, reading and writing."""

import dataclasses
import os
import zipfile

import numpy as np
import pytest

import ram_tf
from ram_tf.data.split import Split
from ram_tf.runs.config import Config
from ram_tf.storage import cache
from tests.support.broken_array_files import (
    empty,
    flipped,
    single_array,
    text,
    truncated,
)

INFERENCE = {"views": 1, "views_from": "image", "scales": [40], "describe": None}
CONFIG = Config.of(image_size=40, crop_margin=8)
ARRAYS = {"scores": np.arange(6.0).reshape(2, 3), "boxes": np.ones((2, 4), "float32")}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("one.jpg", "two.jpg")]
    for path in paths:
        path.write_bytes(b"image")
        os.utime(path, ns=(10**18, 10**18))
    return paths


def split_of(*images, names=("cat", "dog")):
    labels = np.zeros((len(images), len(names)), np.int8)
    ids = tuple(str(i) for i in range(len(images)))
    return Split(images, ids, labels, names)


def key_of_files(files, weights):
    return cache.key_of(INFERENCE, [weights], split_of(*map(str, files)), CONFIG)


def test_the_same_inputs_have_the_same_key(files, weights):
    key = key_of_files(files, weights)
    assert key == key_of_files(files, weights)
    assert len(key) == cache.KEY_LENGTH
    assert set(key) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "changes",
    [
        {"views": 5},
        {"views_from": "features"},
        {"scales": [48]},
        {"scales": [40, 48]},
        {"describe": "x"},
    ],
)
def test_other_views_have_another_key(weights, changes):
    split = split_of(b"one")
    before, after = (
        cache.key_of(inference, [weights], split, CONFIG)
        for inference in (INFERENCE, {**INFERENCE, **changes})
    )
    assert before != after


def test_other_weights_have_another_key(files, weights):
    before = key_of_files(files, weights)
    weights.write_bytes(b"wEights")
    assert key_of_files(files, weights) != before


def test_the_order_of_models_is_in_the_key(files, weights):
    split, other = split_of(b"one"), files[0]
    before, after = (
        cache.key_of(INFERENCE, paths, split, CONFIG)
        for paths in ([weights, other], [other, weights])
    )
    assert before != after


def test_other_settings_and_label_names_have_another_key(weights):
    split, other = split_of(b"one"), split_of(b"one", names=("cat", "cow"))
    keys = {
        cache.key_of(INFERENCE, [weights], split, CONFIG),
        cache.key_of(INFERENCE, [weights], other, CONFIG),
        cache.key_of(INFERENCE, [weights], split, CONFIG.replace(max_pixels=9)),
    }
    assert len(keys) == 3


def test_another_release_has_another_key(weights, monkeypatch):
    split = split_of(b"one")
    before = cache.key_of(INFERENCE, [weights], split, CONFIG)
    monkeypatch.setattr(ram_tf, "__version__", ram_tf.__version__ + ".1")
    assert cache.key_of(INFERENCE, [weights], split, CONFIG) != before


def test_other_arrays_have_another_key(weights):
    arrays = [
        (),
        (np.zeros(4, "int8"),),
        (np.zeros(4, "int32"),),
        (np.zeros((2, 2), "int8"),),
        (np.array([0, 0, 1, 0], "int8"),),
    ]
    split = split_of(b"one")
    keys = {cache.key_of(INFERENCE, [weights], split, CONFIG, *some) for some in arrays}
    assert len(keys) == len(arrays)


def larger(files):
    files[1].write_bytes(b"images")
    os.utime(files[1], ns=(10**18, 10**18))
    return files


def later(files):
    os.utime(files[1], ns=(10**18, 10**18 + 1))
    return files


def moved(files):
    return [files[0], files[1].rename(files[1].with_name("three.jpg"))]


def reordered(files):
    return files[::-1]


def fewer(files):
    return files[:1]


@pytest.mark.parametrize("change", [larger, later, moved, reordered, fewer])
def test_other_image_files_have_another_key(files, weights, change):
    before = key_of_files(files, weights)
    assert key_of_files(change(files), weights) != before


@pytest.mark.parametrize(
    "images", [(b"ones", b"two"), (b"two", b"one"), (b"onet", b"wo"), (b"one",)]
)
def test_other_image_bytes_have_another_key(weights, images):
    before, after = (
        cache.key_of(INFERENCE, [weights], split_of(*some), CONFIG)
        for some in ((b"one", b"two"), images)
    )
    assert before != after


def test_other_proposals_have_another_key(weights):
    keys = {
        cache.key_of(
            INFERENCE,
            [weights],
            dataclasses.replace(split_of(b"one"), proposals=proposals),
            CONFIG,
        )
        for proposals in (None, np.zeros((1, 2, 4)), np.ones((1, 2, 4)))
    }
    assert len(keys) == 3


def never():
    raise AssertionError("computed again")


def assert_same_arrays(actual, expected):
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)
        assert actual[name].dtype == array.dtype


def test_cached_arrays_are_not_computed_again(tmp_path):
    folder = tmp_path / "new" / "outputs"
    assert_same_arrays(cache.read_or_compute(folder, "key", lambda: ARRAYS), ARRAYS)
    assert_same_arrays(cache.read_or_compute(folder, "key", never), ARRAYS)
    assert [path.name for path in folder.iterdir()] == ["key.npz"]


def test_arrays_of_another_key_are_computed(tmp_path):
    cache.read_or_compute(tmp_path, "key", lambda: ARRAYS)
    other = {"scores": np.zeros(1)}
    assert_same_arrays(cache.read_or_compute(tmp_path, "other", lambda: other), other)


def test_a_renamed_file_is_named_and_computed_again(tmp_path, capsys):
    cache.read_or_compute(tmp_path, "other", lambda: {"scores": np.zeros(1)})
    (tmp_path / "other.npz").rename(tmp_path / "key.npz")
    assert_same_arrays(cache.read_or_compute(tmp_path, "key", lambda: ARRAYS), ARRAYS)
    assert f"another key: {tmp_path / 'key.npz'}" in capsys.readouterr().err
    assert_same_arrays(cache.read_or_compute(tmp_path, "key", never), ARRAYS)


def objects(path):
    np.savez(path, scores=np.array([{}], object), allow_pickle=True)


def encrypted(path):
    content = bytearray(path.read_bytes())
    # The flags of the first entry of the directory at the end.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "corrupt", [truncated, flipped, empty, text, single_array, objects, encrypted]
)
def test_a_corrupt_file_is_named_and_computed_again(tmp_path, capsys, corrupt):
    cache.read_or_compute(tmp_path, "key", lambda: ARRAYS)
    corrupt(tmp_path / "key.npz")
    assert_same_arrays(cache.read_or_compute(tmp_path, "key", lambda: ARRAYS), ARRAYS)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("computed again, since unreadable")
    assert str(tmp_path / "key.npz") in line
    assert_same_arrays(cache.read_or_compute(tmp_path, "key", never), ARRAYS)
    assert capsys.readouterr().err == ""


def test_nothing_is_written_where_computing_fails(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.read_or_compute(tmp_path, "key", fail)
    assert list(tmp_path.iterdir()) == []


def full_disk(path, **arrays):
    path.write_bytes(b"PK half a file")
    raise OSError("No space left on device")


def test_a_full_disk_loses_no_results_and_leaves_no_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(np, "savez", full_disk)
    assert cache.read_or_compute(tmp_path, "key", lambda: ARRAYS) is ARRAYS
    assert list(tmp_path.iterdir()) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"not kept: {tmp_path / 'key.npz'} (No space left on device)"


def test_a_folder_that_cannot_be_made_loses_no_results(tmp_path, capsys):
    (tmp_path / "outputs").write_text("in the way")
    assert cache.read_or_compute(tmp_path / "outputs", "key", lambda: ARRAYS) is ARRAYS
    assert "not kept" in capsys.readouterr().err


def test_a_missing_file_is_not_reported_as_unreadable(tmp_path):
    with pytest.raises(FileNotFoundError):
        cache.load(tmp_path / "key.npz")


def test_a_compressed_file_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", scores=np.zeros(1_000_000))
    with pytest.raises(ValueError, match="claim 8"):
        cache.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
        "(" * 4000,
    ],
)
def test_an_array_with_an_invalid_header_is_refused(tmp_path, header):
    head = header.encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        start = b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little")
        file.writestr("a.npy", start + head)
    with pytest.raises(ValueError, match="no npz file"):
        cache.load(tmp_path / "a.npz")
