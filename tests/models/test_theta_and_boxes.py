"""Tests the conversions between theta, the matrices of Eq. 1 and boxes by hand."""

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models.attention.spatial_transformer import (
    box_to_theta,
    matrix_to_box,
    theta_to_matrix,
)

WHOLE = [1.0, 1.0, 0.0, 0.0]


def test_theta_to_matrix_writes_equation_1():
    matrix = theta_to_matrix(tf.constant([[0.1, 0.2, 0.3, 0.4]]))
    expected = np.array([[[0.1, 0, 0.3], [0, 0.2, 0.4]]], "float32")
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("theta", "unclipped", "clipped"),
    [
        pytest.param(WHOLE, [0, 0, 1, 1], [0, 0, 1, 1], id="whole map"),
        pytest.param(
            # x from 0.25 to 0.75 of [-1, 1], y from -1 to 0.
            [0.25, 0.5, 0.5, -0.5],
            [0, 0.625, 0.5, 0.875],
            [0, 0.625, 0.5, 0.875],
            id="inside",
        ),
        pytest.param(
            [-0.25, -0.5, 0.5, -0.5],
            [0, 0.625, 0.5, 0.875],
            [0, 0.625, 0.5, 0.875],
            id="mirrored",
        ),
        pytest.param(
            [0.5, 1.5, 1.0, 0.0],
            [-0.25, 0.75, 1.25, 1.25],
            [0, 0.75, 1, 1],
            id="overhanging",
        ),
    ],
)
def test_matrix_to_box_by_hand(theta, unclipped, clipped):
    matrix = theta_to_matrix(tf.constant([theta]))
    np.testing.assert_allclose(matrix_to_box(matrix, clip=False), [unclipped])
    np.testing.assert_allclose(matrix_to_box(matrix), [clipped])


@pytest.mark.parametrize(
    ("box", "theta"),
    [
        pytest.param([0, 0, 1, 1], WHOLE, id="whole map"),
        pytest.param([0, 0.625, 0.5, 0.875], [0.25, 0.5, 0.5, -0.5], id="inside"),
        pytest.param([-0.25, 0.75, 1.25, 1.25], [0.5, 1.5, 1, 0], id="overhanging"),
    ],
)
def test_box_to_theta_by_hand_and_back(box, theta):
    found = box_to_theta(tf.constant([box], tf.float32))
    np.testing.assert_allclose(found, [theta])
    back = matrix_to_box(theta_to_matrix(found), clip=False)
    np.testing.assert_allclose(back, [box])
