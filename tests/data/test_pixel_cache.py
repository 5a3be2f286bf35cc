"""Cached pixels are those of the files, and are kept as long as the files."""

import dataclasses
import os

import numpy as np
import pytest

from ram_tf.data import pixel_cache
from ram_tf.data import scan as scanned
from ram_tf.data.pipelines import evaluation_pipeline, training_pipeline
from ram_tf.data.pixel_cache import PixelCache
from ram_tf.data.scan import scan
from ram_tf.data.split import Split
from tests.support.image_files import encode, noise

EDGE = 24
LIMITS = 10_000, "refuse"
SHAPES = [(20, 24), (9, 24), (24, 24), (24, 5), (1, 1), (16, 20)]


def split_of(folder, shapes=SHAPES):
    paths = []
    for i, shape in enumerate(shapes):
        path = folder / f"{i}.png"
        path.write_bytes(encode(noise(*shape, seed=i)))
        paths.append(str(path))
    labels = np.arange(len(paths), dtype="int8")[:, None] % 2
    return Split(tuple(paths), tuple(paths), labels, ("odd",), name="train")


def cached(split, folder):
    found = scan(split, cache=PixelCache(EDGE, folder, LIMITS))
    return dataclasses.replace(split, pixels=found.pixels)


@pytest.fixture(params=["ram", "disk"])
def folder(request, tmp_path):
    """The folder of a cache's files; None for memory."""
    return tmp_path / "cache" if request.param == "disk" else None


def training_batches(split):
    return list(
        training_pipeline(
            split, 20, 16, True, 3, range(2), seed=1, zooms=(1.0, 1.2)
        ).as_numpy_iterator()
    )


def test_training_reads_the_same_bits_where_images_are_stored_whole(tmp_path, folder):
    split = split_of(tmp_path)
    expected = training_batches(split)
    batches = training_batches(cached(split, folder))
    assert len(batches) == len(expected) == 4
    for batch, other in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(batch[0], other[0])
        np.testing.assert_array_equal(batch[1], other[1])


def test_larger_images_differ_by_rounding_only(tmp_path, folder):
    split = split_of(tmp_path, [(60, 90), (24, 70), (200, 25)])
    with_cache = cached(split, folder)
    shapes = [image.shape for image in read(with_cache)]
    assert shapes == [(24, 24, 3), (24, 24, 3), (24, 24, 3)]
    (expected,), (images,) = (
        next(iter(evaluation_pipeline(each, [EDGE], [EDGE], 3)))
        for each in (split, with_cache)
    )
    np.testing.assert_allclose(images, expected, atol=0.51)


def read(split):
    reader = split.pixels.reader()
    return [reader(index).numpy() for index in range(len(split))]


def test_sizes_beyond_the_cache_are_decoded(tmp_path, folder):
    split = split_of(tmp_path, [(60, 90)])
    (expected,), (images,) = (
        next(iter(evaluation_pipeline(each, [EDGE + 8], [EDGE + 8], 1)))
        for each in (split, cached(split, folder))
    )
    np.testing.assert_array_equal(images, expected)


def test_held_out_images_keep_their_pixels(tmp_path, folder):
    split = split_of(tmp_path)
    for part in cached(split, folder).hold_out(0.4, seed=0):
        for name, image in zip(part.names, read(part), strict=True):
            whole = read(cached(split.take([split.names.index(name)]), None))[0]
            np.testing.assert_array_equal(image, whole)


def test_unchanged_files_are_not_decoded_again(tmp_path):
    split, cache = split_of(tmp_path, [(20, 24)]), tmp_path / "cache"
    cached(split, cache)
    (path,) = split.images
    kept = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"no longer an image")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    again = PixelCache(EDGE, cache, LIMITS)
    assert not len(scan(split, cache=again).unreadable)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    assert scan(split, cache=again).unreadable.tolist() == [0]


def test_an_image_that_is_refused_now_is_not_read_from_the_cache(tmp_path):
    split, folder = split_of(tmp_path, [(20, 24)]), tmp_path / "cache"
    cached(split, folder)
    stricter = PixelCache(EDGE, folder, (100, "refuse"))
    assert scan(split, max_pixels=100, cache=stricter).unreadable.tolist() == [0]


def test_incomplete_files_of_the_cache_are_written_again(tmp_path):
    split, cache = split_of(tmp_path, [(20, 24)]), tmp_path / "cache"
    cached(split, cache)
    (file,) = cache.rglob("*.pixels")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    cached(split, cache)
    assert file.read_bytes() == whole


def test_unreadable_images_are_found_and_the_others_stored(tmp_path, folder):
    split = split_of(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    found = scan(split, cache=PixelCache(EDGE, folder, LIMITS))
    assert found.unreadable.tolist() == [1]
    assert [each is None for each in found.pixels.stored] == [False, True] + 4 * [False]


def test_room_is_counted_before_it_is_taken(tmp_path, monkeypatch, capsys):
    split = split_of(tmp_path, [(64, 20), (8, 8)])
    memory = tmp_path / "meminfo"
    monkeypatch.setattr(pixel_cache, "MEMORY", memory)
    needed = 3 * (EDGE * 20 + 8 * 8)  # the PNG's own sizes, at most EDGE
    memory.write_text(f"MemAvailable: {needed // 1024} kB\n")
    with pytest.raises(ValueError, match=r"do not fit in memory.*--cache disk"):
        PixelCache(EDGE, None, LIMITS).check_room(split)
    memory.write_text(f"MemAvailable: {needed // 1024 + 1} kB\n")
    PixelCache(EDGE, None, LIMITS).check_room(split)
    assert "2 images" in capsys.readouterr().out


def test_room_is_not_needed_for_what_is_stored(tmp_path, capsys):
    split, cache = split_of(tmp_path), tmp_path / "cache"
    cached(split, cache)
    PixelCache(EDGE, cache, LIMITS).check_room(split)
    assert "0.00 GiB" in (out := capsys.readouterr().out)
    assert "the other 6" in out


def test_a_later_start_decodes_and_reads_no_image(tmp_path, monkeypatch):
    split, folder = split_of(tmp_path), tmp_path / "cache"
    (tmp_path / "1.png").write_bytes(b"no image")
    first = scan(split, cache=PixelCache(EDGE, folder, LIMITS))

    def decode(*_):
        raise AssertionError("an image is decoded")

    monkeypatch.setattr(scanned, "decode_image", decode)
    again = scan(split, cache=PixelCache(EDGE, folder, LIMITS))
    assert again.unreadable.tolist() == first.unreadable.tolist() == [1]
    np.testing.assert_array_equal(again.greys, first.greys)
    assert again.pixels.stored == first.pixels.stored


@pytest.mark.parametrize("change", ["file", "pixels", "edge", "images"])
def test_a_start_on_other_images_decodes_them(tmp_path, monkeypatch, change):
    split, folder, edge = split_of(tmp_path), tmp_path / "cache", EDGE
    cached(split, folder)
    if change == "file":
        (tmp_path / "2.png").write_bytes(encode(noise(8, 8)))
    elif change == "pixels":
        next(folder.rglob("*.pixels")).unlink()
    elif change == "images":
        split = split.take([0, 1])
    else:
        edge += 1
    decoded = []
    real = scanned.decode_image
    monkeypatch.setattr(
        scanned, "decode_image", lambda *a: decoded.append(1) or real(*a)
    )
    scan(split, cache=PixelCache(edge, folder, LIMITS))
    assert decoded
