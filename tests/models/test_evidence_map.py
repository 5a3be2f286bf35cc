"""Tests the evidence map of step 1's classifier by hand and against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import evidence_map
from ram_tf.models.networks import PooledClassifier
from ram_tf.models.objectives import Objective

LABELS = 3


def test_cell_centres_lie_in_the_middle_of_equal_parts():
    assert evidence_map.cell_centres(4).numpy().tolist() == [0.125, 0.375, 0.625, 0.875]
    assert evidence_map.cell_centres(1).numpy().tolist() == [0.5]


def test_a_cell_on_the_border_is_averaged_over_the_cells_that_exist():
    # 4 / 4 cells in the corner is more than 8 / 9 cells in the middle.
    scores = np.zeros((1, 5, 6, 1), "float32")
    scores[0, 2, 2], scores[0, 4, 5] = 8, 4
    (point,) = evidence_map.points(tf.constant(scores)).numpy()[0]
    np.testing.assert_allclose(point, [4.5 / 5, 5.5 / 6], rtol=1e-6)


def test_of_equal_cells_the_first_in_row_major_order_is_taken():
    # All nine cells around a single one have the same mean.
    scores = np.zeros((2, 5, 6, 2), "float32")
    scores[0, 2, 2, 0] = 9
    scores[1, 1:4, 3:5, 1] = -9
    points = evidence_map.points(tf.constant(scores)).numpy()
    np.testing.assert_allclose(points[0, 0], [1.5 / 5, 1.5 / 6], rtol=1e-6)
    for point in (points[0, 1], points[1, 0], points[1, 1]):
        np.testing.assert_allclose(point, [0.5 / 5, 0.5 / 6], rtol=1e-6)


def make_pooled(pooling="average", units=None):
    backbone = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(8, 4, strides=4)]
    )
    objective = Objective("bce")
    model = PooledClassifier(backbone, LABELS, objective, pooling, units, (4, 4))
    model(np.zeros((1, 24, 32, 3), "float32"))
    bias = model.classifier.bias
    bias.assign(np.arange(LABELS, dtype="float32"))
    return model


def points_by_numpy(features, kernel):
    """Computes the points `(n, L, 2)` cell by cell."""
    images, height, width, _ = features.shape
    points = np.empty((images, kernel.shape[1], 2))
    for image, label in np.ndindex(points.shape[:2]):
        best = -np.inf
        for y, x in np.ndindex(height, width):
            near = features[image, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            mean = (near @ kernel[:, label]).mean()
            if mean > best:
                best = mean
                points[image, label] = (y + 0.5) / height, (x + 0.5) / width
    return points


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_evidence_equals_numpy_for_any_number_of_images(pooling):
    model = make_pooled(pooling)
    graph = tf.function(
        lambda images: model(images, with_evidence=True),
        [tf.TensorSpec([None, None, None, 3])],
        autograph=False,
    )
    kernel = model.classifier.get_weights()[0].astype("float64")
    for count, shape in ((5, (24, 32)), (2, (40, 20))):
        images = np.random.default_rng(count).uniform(0, 255, (count, *shape, 3))
        images = images.astype("float32")
        outputs = graph(images)
        features = model.backbone(images).numpy().astype("float64")
        expected = points_by_numpy(features, kernel)
        np.testing.assert_allclose(outputs["evidence"], expected, rtol=1e-6)
        for name, value in model(images).items():
            np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("pooling", "units"), [("average", 7), ("flatten", None)])
def test_there_is_no_evidence_with_a_hidden_layer_or_a_flattened_map(pooling, units):
    model = make_pooled(pooling, units)
    images = np.zeros((1, 24, 32, 3), "float32")
    assert not model.has_evidence
    assert set(model(images, with_evidence=True)) == {"scores", "probabilities"}
