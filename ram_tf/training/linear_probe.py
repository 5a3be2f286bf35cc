"""Initialises step 1's classifier with a linear probe of the backbone's features.

Fine-tuning under a random classifier distorts pretrained features, so the classifier is
fitted to frozen features before both are trained (Kumar et al., Fine-Tuning can Distort
Pretrained Features and Underperform Out-of-Distribution, ICLR 2022).
"""

import math

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from ram_tf.data import progress
from ram_tf.training.batches import centre_crops

MAX_ITERATIONS = 300


def start(pooled, split, settings):
    """Fits a linear probe and copies its weights into a pooled classifier.

    Args:
        pooled: A `PooledClassifier` without a hidden layer.
        split: The training split. Its images are centre-cropped, and also mirrored if
            the settings mirror training images.
        settings: The `Config`.
    """
    features, labels = _features(pooled, split, settings)
    pooled.classifier.set_weights(fit(features, labels, settings.training.probe_cost))


def fit(features, labels, cost):
    """Fits a logistic regression for each label, with scikit-learn.

    Args:
        features: `(n, D)`.
        labels: `(n, L)`: 1, 0 or, for unknown ones, which are left out, -1.
        cost: C, the inverse of the L2 regularisation, for features scaled to a mean
            square of 1.

    Returns:
        Kernel `(D, L)` and bias `(L,)`, float32. For a label that is never or always
        present, the kernel is 0 and the bias is the log-odds of its frequency.
    """
    scale = root_mean_square(features)
    # L-BFGS converges several times faster on centred features; the bias corrects it.
    centre = features.mean(0) / scale
    scaled = features / scale - centre
    kernel = np.zeros((features.shape[1], labels.shape[1]), "float32")
    bias = np.zeros(labels.shape[1], "float32")
    for j in progress.bar(range(labels.shape[1]), "probing", unit="label"):
        known = labels[:, j] >= 0
        present = labels[known, j] > 0
        if 0 < present.sum() < len(present):
            probe = LogisticRegression(C=cost, max_iter=MAX_ITERATIONS)
            probe.fit(scaled[known], present)
            kernel[:, j] = probe.coef_[0] / scale
            bias[j] = probe.intercept_[0] - centre @ probe.coef_[0]
        else:
            # Laplace smoothing keeps the frequency between 0 and 1.
            odds = (present.sum() + 1) / ((~present).sum() + 1)
            bias[j] = math.log(odds)
    return kernel, bias


def root_mean_square(features):
    """Returns the divisor of features that makes C comparable between networks."""
    return math.sqrt(float(np.mean(np.square(features)))) or 1.0


def _features(pooled, split, settings):
    """Returns the pooled features `(n, D)` of a split's images and labels `(n, L)`."""
    batch_size = settings.training.batch_size
    batches = centre_crops(split, settings, batch_size)
    forward = tf.function(pooled.pool, autograph=False, reduce_retracing=True)
    total = math.ceil(len(split) / batch_size)
    plain, mirrored = [], []
    for (images,) in progress.bar(batches, "probing", total, "batch"):
        plain.append(forward(images))
        if settings.image.flip:
            mirrored.append(forward(images[:, :, ::-1]))
    features = tf.cast(tf.concat(plain + mirrored, 0), tf.float32).numpy()
    copies = 2 if settings.image.flip else 1
    return features, np.tile(split.labels, (copies, 1))
