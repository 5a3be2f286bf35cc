"""The parts that tests build small models of."""

import keras
import numpy as np

LABELS = 3
LABEL_ROWS = np.array([[1, 0, -1], [0, 1, 1]])


def random_images():
    """Two images of 24 x 24 pixels in [0, 255]."""
    shape = (2, 24, 24, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def make_backbone():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.Conv2D(8, 3, strides=4, padding="same", activation="relu"),
        ],
        name="backbone",
    )
