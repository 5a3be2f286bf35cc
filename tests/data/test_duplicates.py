"""Tests which images of two splits are found to be the same."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from ram_tf.data import duplicates
from ram_tf.data.scan import scan, to_grey
from ram_tf.data.split import Split
from tests.support.image_files import encode
from tests.support.textures import texture


def split_of(images):
    """Returns a split, which has been read, of encoded images."""
    names = tuple(map(str, range(len(images))))
    labels = np.zeros((len(images), 1), np.int8)
    split = Split(tuple(images), names, labels, ("a",))
    return dataclasses.replace(split, greys=scan(split).greys)


def jpeg(image, quality=90):
    return encode(image, "JPEG", quality=quality)


@pytest.fixture(scope="module")
def train():
    return split_of([jpeg(texture(seed)) for seed in range(40)])


def test_the_same_bytes_are_exact_duplicates(train):
    test = split_of([jpeg(texture(100)), train.images[7], train.images[3]])
    found = duplicates.find(test, train)
    assert found == duplicates.Duplicates(exact=[(1, 7), (2, 3)], near=[])


CHANGES = {
    "encoded again": lambda image: jpeg(image, 40),
    "as PNG": encode,
    "half as large": lambda image: jpeg(image.resize((80, 60))),
    "twice as large": lambda image: jpeg(image.resize((320, 240))),
    "made square": lambda image: jpeg(image.resize((96, 96))),
    "in grey": lambda image: jpeg(image.convert("L")),
    "cropped by 1 %": lambda image: jpeg(image.crop((1, 1, 159, 119))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_a_near_duplicate(train, change):
    copies = [CHANGES[change](texture(seed)) for seed in (5, 0, 39)]
    found = duplicates.find(split_of(copies), train)
    assert found == duplicates.Duplicates(exact=[], near=[(0, 5), (1, 0), (2, 39)])


def test_a_photograph_that_exif_turns_is_found_upright(train):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a viewer
    turned = texture(8).transpose(PIL.Image.Transpose.ROTATE_90)
    test = split_of([encode(turned, "JPEG", quality=90, exif=exif)])
    assert duplicates.find(test, train).near == [(0, 8)]


def test_different_photographs_are_not_duplicates(train):
    others = split_of([jpeg(texture(seed)) for seed in range(100, 160)])
    assert duplicates.find(others, train) == duplicates.Duplicates([], [])


def test_blank_images_are_duplicates_only_if_their_bytes_are_the_same():
    white, near_white = (
        encode(np.full((20, 20, 3), level, np.uint8)) for level in (255, 254)
    )
    found = duplicates.find(split_of([near_white, white]), split_of([white]))
    assert found == duplicates.Duplicates(exact=[(1, 0)], near=[])


def test_of_several_copies_the_first_is_named(train):
    images = (train.images[1], train.images[2], train.images[1])
    test = split_of([train.images[1], jpeg(texture(1), 70)])
    found = duplicates.find(test, split_of(images))
    assert found == duplicates.Duplicates(exact=[(0, 0)], near=[(1, 0)])


def test_an_empty_split_has_no_duplicates(train):
    empty = train.take([])
    assert duplicates.find(empty, train) == duplicates.Duplicates([], [])
    assert duplicates.find(train, empty) == duplicates.Duplicates([], [])


def test_a_bit_is_whether_a_cell_is_brighter_than_the_one_on_its_left():
    grey = np.random.default_rng(0).integers(0, 256, (1, 16, 18), np.uint8)
    count = 0
    for row in range(8):
        for column in range(8):
            left, right = (
                grey[0, 2 * row : 2 * row + 2, 2 * c : 2 * c + 2].mean()
                for c in (column, column + 1)
            )
            count += right > left + duplicates.MARGIN
    assert duplicates.difference_hash(grey)[0].bit_count() == count
    brighter = np.minimum(grey.astype(int) // 2 + 90, 255).astype(np.uint8)
    assert duplicates.difference_hash(brighter) != 0


def brute_force(greys, others):
    """For each grey the best of all others, in plain loops."""
    pairs = []
    hashes = duplicates.difference_hash(greys)
    other_hashes = duplicates.difference_hash(others)
    for i, grey in enumerate(greys):
        best = (duplicates.MIN_CORRELATION, None)
        for j, other in enumerate(others):
            if (int(hashes[i]) ^ int(other_hashes[j])).bit_count() > 7:
                continue
            similar = round(np.corrcoef(grey.ravel(), other.ravel())[0, 1], 4)
            if similar > best[0] or (best[1] is None and similar == best[0]):
                best = (similar, j)
        if best[1] is not None:
            pairs.append((i, best[1]))
    return pairs


@pytest.mark.parametrize("share", [0, 1 / 64, 100])
@pytest.mark.parametrize("at_once", [7, 1 << 21])
def test_buckets_and_products_find_what_all_pairs_show(monkeypatch, share, at_once):
    monkeypatch.setattr(duplicates, "MOST_IN_BUCKETS", share)
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(duplicates, "VECTORS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    base = np.stack([np.asarray(to_grey(np.asarray(texture(s)))) for s in range(20)])
    others = base[rng.integers(0, 20, 60)] + rng.normal(0, 1, (60, 16, 18))
    greys = base[rng.integers(0, 20, 30)] + rng.normal(0, 3, (30, 16, 18))
    greys, others = (g.clip(0, 255).astype(np.uint8) for g in (greys, others))
    expected = brute_force(greys, others)
    assert 5 < len(expected) < 30
    assert duplicates._alike(greys, others) == expected


def test_greys_of_unreadable_images_are_zero_and_others_follow_their_image():
    plain = np.zeros((30, 40, 3), np.uint8)
    plain[:] = 200, 100, 50
    labels = np.zeros((3, 1), np.int8)
    images = (b"", encode(plain), encode(plain // 2))
    split = Split(images, ("0", "1", "2"), labels, ("a",))
    found = scan(split)
    assert found.unreadable.tolist() == [0]
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    for grey, expected in zip(found.greys, (0, luma, luma / 2), strict=True):
        np.testing.assert_array_equal(grey, round(expected))
    read = dataclasses.replace(split, greys=found.greys)
    np.testing.assert_array_equal(read.take([2, 0]).greys, found.greys[[2, 0]])
