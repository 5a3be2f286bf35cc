"""Tests the charts of the report."""

import numpy as np
import pytest

from ram_tf.evaluation.report import charts
from ram_tf.metrics import multi_label


def test_the_area_below_a_curve_is_its_average_precision():
    generator = np.random.default_rng(0)
    # More and fewer positives than steps, and no multiple of them.
    labels = (generator.random((2000, 3)) < [0.31, 0.05, 0]).astype(int)
    scores = generator.random((2000, 3)) + 0.3 * labels
    for monotone, interpolation in ((False, "none"), (True, "voc2010")):
        expected = multi_label.average_precision(labels, scores, interpolation)
        steps = multi_label.precision_steps(labels, scores, monotone)
        for heights, precision in zip(steps[:2], expected, strict=False):
            recall, height = charts.curve(heights)
            assert recall[0] == 0
            assert recall[-1] == 1
            assert len(recall) <= 2 * charts.STEPS
            area = np.trapezoid(height, recall)
            assert area == pytest.approx(precision)
        assert len(steps[2]) == 0


def test_coverage_is_the_share_of_images_whose_region_contains_a_cell():
    # Cells are quarters of the edge, with centres at 1/8, 3/8, 5/8 and 7/8.
    boxes = np.array(
        [
            [[0, 0, 0.5, 0.5], [0, 0, 1, 1]],
            [[0, 0, 0.5, 1], [0.2, 0.2, 0.2, 0.9]],
        ]
    )
    shares = charts.coverage(boxes, 4)
    assert shares[0].tolist() == [[1, 1, 0.5, 0.5]] * 2 + [[0] * 4] * 2
    assert shares[1].tolist() == [[0.5] * 4] * 4


def test_shades_get_darker_and_letters_have_enough_contrast_on_each():
    colours = [tuple(c) for c in charts.shades(np.linspace(0, 1, 11)).tolist()]
    brightness = [charts.contrast(c, (0, 0, 0)) for c in colours]
    assert brightness == sorted(brightness, reverse=True)
    for ground in colours:
        letters = bytes.fromhex(charts.letters_on(ground)[1:])
        assert charts.contrast(letters, ground) >= 4.5
