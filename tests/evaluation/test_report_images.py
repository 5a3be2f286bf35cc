"""Tests the choice of pictures for the report."""

import numpy as np

from ram_tf.evaluation.report import report_images


def test_pictures_are_the_best_and_worst_positives_and_the_worst_negatives():
    labels = np.array([1, 0, 1, -1, 1, 0, 0, 1, 1])
    probabilities = np.array([0.2, 0.3, 0.9, 1.0, 0.5, 0.8, 0.3, 0.7, 0.5])
    assert report_images.choose(labels, probabilities, 2) == ([2, 7], [0, 4], [5, 1])
    assert report_images.choose(labels, probabilities, 9) == (
        [2, 7, 4],
        [0, 8],
        [5, 1, 6],
    )
    assert report_images.choose([1], [0.1], 3) == ([0], [], [])
