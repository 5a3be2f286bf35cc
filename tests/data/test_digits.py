"""Tests the canvases of the embedded digits."""

import io

import numpy as np
import pytest
from PIL import Image

from ram_tf.data.readers import digits

COUNT = 120


@pytest.fixture(scope="module")
def canvases():
    return digits.load("train", count=COUNT)


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def test_the_same_seed_gives_the_same_bytes(canvases):
    assert digits.load("train", count=COUNT).images == canvases.images


def test_another_seed_gives_other_images(canvases):
    assert not set(digits.load("train", seed=1, count=20).images) & set(canvases.images)


def test_a_larger_count_begins_with_the_smaller(canvases):
    fewer = digits.load("train", count=7)
    assert fewer.images == canvases.images[:7]
    np.testing.assert_array_equal(fewer.labels, canvases.labels[:7])


def test_no_source_digit_is_in_two_splits():
    parts = [
        {image.tobytes() for image in digits._source_digits(split)[0]}
        for split in ("train", "val", "test")
    ]
    assert all(len(part) > 200 for part in parts)
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_splits_of_one_seed_differ():
    images = [digits.load(split, count=5).images for split in digits.COUNTS]
    assert len({image for part in images for image in part}) == 15


def test_images_are_grey_png_of_96_pixels(canvases):
    image = Image.open(io.BytesIO(canvases.images[0]))
    assert (image.format, image.mode, image.size) == ("PNG", "L", (96, 96))


def test_exactly_the_present_labels_have_boxes(canvases):
    for row, boxes in zip(canvases.labels, canvases.boxes, strict=True):
        present = {n for n, mark in zip(digits.LABEL_NAMES, row, strict=True) if mark}
        assert set(boxes) == present


def test_canvases_contain_one_to_four_digits_and_each_number_occurs(canvases):
    counts = {sum(map(len, boxes.values())) for boxes in canvases.boxes}
    assert counts == {1, 2, 3, 4}


def test_every_digit_occurs(canvases):
    assert (canvases.labels.sum(0) >= 5).all()


def test_boxes_are_26_to_78_pixels_high_and_vary_widely(canvases):
    boxes = np.concatenate([b for found in canvases.boxes for b in found.values()])
    heights = (boxes[:, 2] - boxes[:, 0]) * 96
    assert boxes.dtype == np.float32
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert heights.min() > 25.5
    assert heights.max() < 79
    assert np.quantile(heights, 0.2) < 34
    assert np.quantile(heights, 0.8) > 55


def test_digits_do_not_overlap(canvases):
    for found in canvases.boxes:
        boxes = np.concatenate(list(found.values())) * 96
        for i, (ymin, xmin, ymax, xmax) in enumerate(boxes):
            for other in boxes[i + 1 :]:
                tall = min(ymax, other[2]) - max(ymin, other[0])
                wide = min(xmax, other[3]) - max(xmin, other[1])
                assert min(tall, wide) <= -digits.MARGIN + 1e-3


def test_boxes_are_tight_around_the_ink(canvases):
    """The outermost rows inside the boxes are brighter than those outside."""
    inside, outside = [], []
    for encoded, found in zip(canvases.images, canvases.boxes, strict=True):
        image = pixels(encoded)[..., 0].astype(float)
        for box in np.concatenate(list(found.values())):
            ymin, xmin, ymax, xmax = np.round(box * 96).astype(int)
            if ymin < 2 or ymax > 94:
                continue
            inside.append(image[[ymin, ymax - 1], xmin:xmax].max(1).mean())
            outside.append(image[[ymin - 2, ymax + 1], xmin:xmax].max(1).mean())
    assert len(inside) > 50
    assert np.mean(inside) > np.mean(outside) + 30


def test_every_digit_contrasts_with_its_background(canvases):
    for encoded, found in zip(canvases.images, canvases.boxes, strict=True):
        image = pixels(encoded)[..., 0] / 255
        for box in np.concatenate(list(found.values())):
            ymin, xmin, ymax, xmax = np.round(box * 96).astype(int)
            patch = image[ymin:ymax, xmin:xmax]
            assert np.quantile(patch, 0.95) - np.quantile(patch, 0.05) > 0.2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"split": "valid"}, "Expected one of: train, val, test. Received: 'valid'"),
        ({"split": "train", "count": 0}, "Received: count=0, seed=0"),
        ({"split": "train", "seed": -1}, "seed=-1"),
    ],
)
def test_invalid_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        digits.load(**arguments)
