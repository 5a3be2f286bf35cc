"""Starts step 1's classifier from a linear probe of the backbone's features.

Fine-tuning under a classifier that knows nothing yet spoils good features before it has
learnt to read them. So the classifier is fitted to the untouched features first, and
everything is trained from there (Kumar et al., Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution, ICLR 2022).
"""

import math

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from ram_tf.data.pipelines import evaluation_pipeline

MAX_ITERATIONS = 300


def start(pooled, split, settings):
    """Puts the weights of a linear probe into a classifier that has none yet.

    Args:
        pooled: A `PooledClassifier` without a hidden layer.
        split: What to learn from; its images are looked at in the centre crop, and
            mirrored, too, where training mirrors.
        settings: The `Config`.
    """
    features, labels = _features(pooled, split, settings)
    pooled.classifier.set_weights(fit(features, labels, settings.training.probe_cost))


def fit(features, labels, cost):
    """Fits a logistic regression for each label, with scikit-learn.

    Args:
        features: `(n, D)`.
        labels: `(n, L)` 1, 0 or -1; unknown ones are left out.
        cost: C, the inverse of the L2 regularisation, for features that are scaled to a
            mean square of 1.

    Returns:
        Kernel `(D, L)` and bias `(L,)`, float32. A label that is never or always
        present has a kernel of 0 and a bias that says so.
    """
    scale = root_mean_square(features)
    # The bias makes up for the centre, which lets L-BFGS end several times as early.
    centre = features.mean(0) / scale
    scaled = features / scale - centre
    kernel = np.zeros((features.shape[1], labels.shape[1]), "float32")
    bias = np.zeros(labels.shape[1], "float32")
    for j in tqdm(range(labels.shape[1]), "probing", unit="label", leave=False):
        known = labels[:, j] >= 0
        present = labels[known, j] > 0
        if 0 < present.sum() < len(present):
            probe = LogisticRegression(C=cost, max_iter=MAX_ITERATIONS)
            probe.fit(scaled[known], present)
            kernel[:, j] = probe.coef_[0] / scale
            bias[j] = probe.intercept_[0] - centre @ probe.coef_[0]
        else:
            # Log-odds of a share that is never quite 0 or 1 (Laplace).
            odds = (present.sum() + 1) / ((~present).sum() + 1)
            bias[j] = math.log(odds)
    return kernel, bias


def root_mean_square(features):
    """What features are divided by, so that C means the same for every network."""
    return math.sqrt(float(np.mean(np.square(features)))) or 1.0


def _features(pooled, split, settings):
    """The pooled features `(n, D)` of a split's images, and their labels `(n, L)`."""
    batch_size = settings.training.batch_size
    batches = evaluation_pipeline(
        split,
        [settings.image.image_size],
        settings.image.crop,
        batch_size,
        settings.data.max_pixels,
    )
    look = tf.function(pooled.pool, autograph=False, reduce_retracing=True)
    total = math.ceil(len(split) / batch_size)
    plain, mirrored = [], []
    for (images,) in tqdm(batches, "probing", total, unit="batch", leave=False):
        plain.append(look(images))
        if settings.image.flip:
            mirrored.append(look(images[:, :, ::-1]))
    features = tf.cast(tf.concat(plain + mirrored, 0), tf.float32).numpy()
    return features, np.tile(split.labels, (1 + settings.image.flip, 1))
