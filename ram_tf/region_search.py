"""Learns where to look before step 2 trains everything (ours).

Joint training on photographs drives regions off the image: most labels are absent, and
their scores fall where there is nothing to see. So here the labels that are present
alone move the regions, each held by its anchor, while all that reads them stays as it
is. docs/experiments.md tells what else was tried.
"""

import keras
import tensorflow as tf
from tqdm import tqdm

from ram_tf import losses
from ram_tf.progress import Batches

LEARNING_RATE = 1e-3
# Weight of Eq. 9 beside the classification.
ANCHOR = 0.05
# Of s_x, s_y, t_x, t_y: a score is a mean over its region, and highest in the smallest.
MOVED = (0.0, 0.0, 1.0, 1.0)


def start(model, split, settings):
    """Trains `W_zm` and `b_m` alone, for `settings.search_epochs`.

    Args:
        model: An `RDAR` that finds its regions and scores them already.
        split: What to learn from, in random crops as in training.
        settings: The `Config`.
    """
    variables = model.attention.theta_variables
    size = min(settings.batch_size, len(split))
    batches = Batches(split, settings.seed, size)
    steps = settings.search_epochs * batches.count
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.01)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(images, labels):
        features = model.backbone(images)
        with tf.GradientTape() as tape:
            value = loss(labels, model.attend(features))
        gradients = tape.gradient(value, variables)
        optimizer.apply([g * tf.constant(MOVED) for g in gradients], variables)

    data = batches.pipeline(settings, range(settings.search_epochs))
    for images, labels in tqdm(data, "searching", steps, unit="batch", leave=False):
        step(images, labels)


def loss(labels, outputs):
    """What moves regions: the scores of present labels, and their anchors.

    Args:
        labels: `(B, L)` 1, 0 or -1.
        outputs: The dict of `RDAR`.

    Returns:
        A scalar: the binary cross-entropy of the labels that are present, as if the
        others were unknown, and Eq. 9.
    """
    labels = tf.convert_to_tensor(labels)
    present = tf.where(labels > 0, labels, -tf.ones_like(labels))
    anchored = losses.anchor_constraint(outputs["regions"])
    return losses.binary_crossentropy(present, outputs["scores"]) + ANCHOR * anchored
