"""Tests the regions around a location against values computed by hand."""

import numpy as np
import tensorflow as tf

from ram_tf.models.attention.region_scales import (
    RATIOS,
    SIDES,
    region_scales,
    regions_at,
)


def test_regions_have_three_areas_in_three_ratios():
    scales = region_scales() * 512
    assert scales.shape == (9, 2)
    areas = [80**2] * 3 + [160**2] * 3 + [320**2] * 3
    np.testing.assert_allclose(scales.prod(-1), areas, rtol=1e-5)
    np.testing.assert_allclose(scales[:, 0] / scales[:, 1], [2, 1, 0.5] * 3, rtol=1e-5)
    assert (len(SIDES), len(RATIOS)) == (3, 3)


def test_regions_of_a_location_are_centred_there():
    scales = np.array([[0.2, 0.4], [0.5, 0.3]], "float32")
    theta = regions_at(tf.constant([[0.1, -0.9]]), scales)
    expected = [[[0.2, 0.4, 0.1, -0.9], [0.5, 0.3, 0.1, -0.9]]]
    np.testing.assert_array_equal(theta, np.array(expected, "float32"))
