"""Tests random crops, flips, sizes and colours against independent values."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.data.augmentation import (
    Place,
    boxes_in_crop,
    cut,
    jitter_colours,
    random_edge,
    random_place,
)
from tests.support.image_files import noise

STRENGTH = 0.4
jitter = tf.function(jitter_colours)


def jittered(pixels, count=300):
    """Returns many jittered copies of an image of these pixels, all in [0, 1]."""
    image = tf.constant(255 * np.array(pixels, "float32").reshape(1, -1, 3))
    changed = [jitter(image, STRENGTH, tf.constant([7, i])) for i in range(count)]
    return np.stack(changed)[:, 0] / 255


def assert_spread(values, low, high):
    """Asserts that the values are spread over the whole range, and stay in it."""
    assert low - 1e-4 <= values.min()
    assert values.max() <= high + 1e-4
    counts, _ = np.histogram(values, 4, (low, high))
    assert counts.min() > len(values) / 8


def test_brightness_adds_to_all_channels_alike():
    # Nothing else changes a grey image of one colour.
    change = jittered([0.5] * 3) - 0.5
    np.testing.assert_allclose(change, change[..., :1].repeat(3, -1), atol=1e-5)
    assert_spread(change[..., 0], -STRENGTH / 2, STRENGTH / 2)


def test_contrast_scales_differences_between_pixels():
    # Grey, so that saturation and hue leave it.
    dark, light = np.moveaxis(jittered([[0.45] * 3, [0.55] * 3])[..., 0], 1, 0)
    assert_spread((light - dark) / 0.1, 1 - STRENGTH, 1 + STRENGTH)


def test_saturation_scales_the_differences_between_channels():
    # One colour, so that contrast leaves it; brightness and hue leave the differences.
    changed = jittered([0.6, 0.5, 0.4])[:, 0]
    assert_spread(np.ptp(changed, -1) / 0.2, 1 - STRENGTH, 1 + STRENGTH)


def test_hue_rotates_in_both_directions():
    before = colorsys.rgb_to_hsv(0.6, 0.5, 0.4)[0]
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in jittered([0.6, 0.5, 0.4])[:, 0]]
    turned = (np.array(hues) - before + 0.5) % 1 - 0.5
    assert_spread(turned, -STRENGTH / 8, STRENGTH / 8)


def test_colours_stay_in_range_and_depend_on_the_seed():
    image = tf.cast(noise(8, 8), tf.float32)
    one, again, other = (jitter_colours(image, 1.0, (0, i)) for i in (3, 3, 4))
    assert 0 <= tf.reduce_min(one) < tf.reduce_max(one) <= 255
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1


@pytest.mark.parametrize("strength", [0.0, 1e-6])
def test_without_strength_the_image_does_not_change(strength):
    image = tf.cast(noise(8, 8), tf.float32)
    jittered = jitter_colours(image, strength, (0, 1))
    np.testing.assert_allclose(jittered, image, atol=0.01 if strength else 0)


def places():
    """Returns an image whose pixels contain their position: (y, x, 0)."""
    y, x = np.mgrid[:10, :10]
    return np.stack([y, x, 0 * x], -1).astype("float32")


def random_crop_and_flip(image, crop, flip, seed):
    return cut(image, crop, random_place(len(image) - crop, flip, seed)).numpy()


def test_random_crops_and_flips_equal_those_of_tensorflow():
    for i in range(20):
        seed = tf.constant([3, i])
        place, mirror = tf.unstack(tf.random.split(seed, 2))
        expected = tf.image.stateless_random_crop(places(), (8, 8, 3), place)
        expected = tf.image.stateless_random_flip_left_right(expected, mirror)
        crop = random_crop_and_flip(places(), 8, True, seed)
        np.testing.assert_array_equal(crop, expected)


def test_crops_come_from_all_positions_inside_the_image():
    corners = set()
    for i in range(200):
        crop = random_crop_and_flip(places(), 8, False, tf.constant([0, i]))
        top, left = crop[0, 0, :2].astype(int)
        corners.add((top, left))
        np.testing.assert_array_equal(crop, places()[top : top + 8, left : left + 8])
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_zooms_are_drawn_as_often_as_they_are_listed():
    drawn = [int(random_edge([10, 10, 20], tf.constant([0, i]))) for i in range(300)]
    assert set(drawn) == {10, 20}
    assert 160 < drawn.count(10) < 240  # 200 on average, deviation 8


def test_about_half_the_images_are_flipped():
    image, mirrored = places(), 0
    for i in range(200):
        crop = random_crop_and_flip(image, 10, True, tf.constant([0, i]))
        if not np.array_equal(crop, image):
            np.testing.assert_array_equal(crop, image[:, ::-1])
            mirrored += 1
    assert 70 <= mirrored <= 130  # four standard deviations


def test_place_and_flip_are_independent():
    corners = {True: set(), False: set()}
    for i in range(300):
        crop = random_crop_and_flip(places(), 8, True, tf.constant([0, i]))
        corners[bool(crop[0, 0, 1] > crop[0, 1, 1])].add(crop[0, :, 1].min())
    assert corners == {True: {0, 1, 2}, False: {0, 1, 2}}


@pytest.mark.parametrize(
    ("mirrored", "expected"),
    [
        # Rows 20 to 60 and columns 30 to 90 of 100; the crop starts at row 10 and
        # column 25 and has 50 of each.
        (False, [0.2, 0.1, 1.0, 1.3]),
        (True, [0.2, -0.3, 1.0, 0.9]),
    ],
)
def test_boxes_in_a_crop_equal_values_by_hand(mirrored, expected):
    boxes = tf.constant([[0.2, 0.3, 0.6, 0.9]])
    converted = boxes_in_crop(boxes, 100, 50, Place(10, 25, mirrored))
    np.testing.assert_allclose(converted, [expected], atol=1e-6)
