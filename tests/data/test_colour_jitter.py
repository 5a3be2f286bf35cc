import colorsys

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.data.colour_jitter import jitter_colours
from tests.support.image_files import noise

STRENGTH = 0.4
jitter = tf.function(jitter_colours)


def jittered(pixels, count=300):
    """Many changes of one image whose pixels are so much of the whole range."""
    image = tf.constant(255 * np.array(pixels, "float32").reshape(1, -1, 3))
    changed = [jitter(image, STRENGTH, tf.constant([7, i])) for i in range(count)]
    return np.stack(changed)[:, 0] / 255


def assert_spread(values, low, high):
    """All within the range, and over the whole of it, each part as likely."""
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


def test_hue_turns_both_ways():
    before = colorsys.rgb_to_hsv(0.6, 0.5, 0.4)[0]
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in jittered([0.6, 0.5, 0.4])[:, 0]]
    turned = (np.array(hues) - before + 0.5) % 1 - 0.5
    assert_spread(turned, -STRENGTH / 8, STRENGTH / 8)


def test_colours_stay_in_range_and_are_those_of_their_seed():
    image = tf.cast(noise(8, 8), tf.float32)
    one, again, other = (jitter_colours(image, 1.0, (0, i)) for i in (3, 3, 4))
    assert 0 <= tf.reduce_min(one) < tf.reduce_max(one) <= 255
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1


@pytest.mark.parametrize("strength", [0.0, 1e-6])
def test_without_strength_the_image_is_as_it_was(strength):
    image = tf.cast(noise(8, 8), tf.float32)
    seen = jitter_colours(image, strength, (0, 1))
    np.testing.assert_allclose(seen, image, atol=0.01 if strength else 0)
