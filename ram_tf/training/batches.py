"""The batches of a step: those to train on, and those of the validation."""

import math
from typing import NamedTuple

from ram_tf.data.pipelines import ONE_DEVICE, evaluation_pipeline, training_pipeline
from ram_tf.data.split import Split, epoch_order


class TrainingBatches(NamedTuple):
    """What each step of an epoch learns from.

    Args:
        split: The training split.
        seed: Of its order.
        size: Images a batch.
    """

    split: Split
    seed: int
    size: int

    @property
    def count(self):
        """Batches an epoch."""
        return len(self.split) // self.size

    def pipeline(self, settings, epochs, context=ONE_DEVICE):
        """These batches as a `tf.data.Dataset`, cropped and mirrored as settings say.

        Args:
            settings: The `Config`.
            epochs: Which epochs, a range.
            context: See `training_pipeline`.
        """
        return training_pipeline(
            self.split,
            settings.image.image_size,
            settings.image.crop,
            settings.image.flip,
            self.size,
            epochs,
            self.seed,
            settings.image.zoom_factors,
            settings.data.max_pixels,
            context,
            settings.image.colour_jitter,
        )

    def must_be_finite(self, loss, epoch, batch):
        """Raises a `FloatingPointError` with the batch's images where a loss is not."""
        if math.isfinite(loss):
            return
        order = epoch_order(len(self.split), self.seed, epoch)
        images = order[batch * self.size :][: self.size]
        raise FloatingPointError(
            "The loss is not finite. Expected a number; a smaller learning rate or "
            f"--clip_norm may help. Received: {loss} at epoch {epoch + 1}, step "
            f"{batch + 1}, images {', '.join(self.split.names[i] for i in images)}"
        )


def validation_inputs(split, settings, batch_size):
    """Centre crops of a split, in batches, each as the one input of a Keras model."""
    batches = evaluation_pipeline(
        split,
        [settings.image.image_size],
        settings.image.crop,
        batch_size,
        settings.data.max_pixels,
    )
    if split.proposals is None:
        return batches
    # Keras would take boxes beside the images for labels.
    return batches.map(lambda images, boxes: ((images, boxes),))
