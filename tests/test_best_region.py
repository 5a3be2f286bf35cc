"""What fits through the best region are made of, by hand and by other libraries."""

import gc
import weakref

import numpy as np
import tensorflow as tf
from sklearn.metrics import log_loss

from ram_tf import best_region


def test_a_share_of_a_score_is_the_whole_images_and_the_rest_the_best_regions():
    whole = np.array([[1.0, -2.0]])
    regions = np.array([[[10.0, -50.0], [-10.0, 30.0], [0.0, 0.0]]])
    found = best_region.scores(whole, regions, 0.25)
    np.testing.assert_allclose(found, [[0.25 * 1 + 0.75 * 10, 0.25 * -2 + 0.75 * 30]])


def test_regions_that_score_alike_share_the_gradient():
    regions = tf.Variable(np.full((1, 4, 1), 2.0))
    with tf.GradientTape() as tape:
        best = best_region.scores(tf.zeros((1, 1), tf.float64), regions, 0.0)
    np.testing.assert_allclose(best, 2 + best_region.SMOOTHNESS * np.log(4))
    np.testing.assert_allclose(tape.gradient(best, regions), np.full((1, 4, 1), 0.25))


def test_the_cross_entropy_is_scikit_learns_over_what_is_known():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (20, 3))
    scores = rng.normal(0, 2, (20, 3))
    known = labels >= 0
    probabilities = 1 / (1 + np.exp(-scores[known]))
    expected = log_loss(labels[known], probabilities, normalize=False)
    np.testing.assert_allclose(best_region.cross_entropy(labels, scores), expected)


def test_a_minimum_is_numpys_least_squares():
    rng = np.random.default_rng(0)
    matrix, target = rng.normal(size=(30, 5)), rng.normal(size=30)
    found = best_region.minimise(
        lambda x, a, b: tf.reduce_sum(tf.square(tf.linalg.matvec(a, x) - b)),
        np.zeros(5),
        matrix,
        target,
    )
    expected, *_ = np.linalg.lstsq(matrix, target)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_was_learnt_from_is_given_back():
    data = tf.random.stateless_normal((100,), (0, 0), dtype=tf.float64)
    kept = weakref.ref(data)
    gc.disable()
    try:
        best_region.minimise(
            lambda x, data: tf.reduce_sum(tf.square(data - x)), np.zeros(1), data
        )
        del data
        assert kept() is None
    finally:
        gc.enable()


def test_a_level_is_what_the_best_region_has_lost_where_a_label_is_known():
    before = np.array([[[3.0], [1.0]], [[2.0], [7.0]], [[9.0], [9.0]]])
    after = np.array([[[2.0], [2.5]], [[1.0], [0.0]], [[-9.0], [-9.0]]])
    labels = np.array([[1], [0], [-1]])
    level = best_region.levelling_bias(before, after, labels)
    np.testing.assert_allclose(level, [(0.5 + 6.0) / 2])
    assert best_region.levelling_bias(before, after, -np.ones((3, 1))) == 0
