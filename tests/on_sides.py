"""What is learnt before step 2 begins, from squares of which each has its side."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from small_run import SMALL

from ram_tf import build
from ram_tf.split import Split

ON_SIDES = dataclasses.replace(
    SMALL,
    regions=10,
    starts="anchors",
    start_scale=0.35,
    region_pooling="average",
    units=40,
    head_start="pooled",
    # Probes that are not sure of their labels: to sure ones places have nothing to add.
    probe_cost=0.01,
    context=0.6,
    flip=False,
)
SIDES = {"above": (0, -0.5), "below": (0, 0.5), "left": (-0.5, 0)}


def make_split():
    """Squares on three sides, each with a label and a colour of its own."""
    labels = np.random.default_rng(0).integers(0, 2, (80, 3)).astype("int8")
    images = np.full((80, 40, 40, 3), 60, "uint8")
    colours = 60 + 195 * np.eye(3, dtype=int)
    for image, present in zip(images, labels, strict=True):
        for here, colour, (x, y) in zip(present, colours, SIDES.values(), strict=True):
            if here:
                top, left = round(16 + 20 * y), round(16 + 20 * x)
                image[top : top + 8, left : left + 8] = colour
    encoded = tuple(tf.io.encode_png(image).numpy() for image in images)
    return Split(encoded, tuple(f"{i}.png" for i in range(80)), labels, tuple(SIDES))


def make_model(settings):
    """A model that starts as a pooled classifier, with the weights of a seed."""
    keras.utils.set_random_seed(0)
    pooled = build.pooled_classifier(settings, len(SIDES), "average")
    return build.attention_model(settings, len(SIDES), pooled)
