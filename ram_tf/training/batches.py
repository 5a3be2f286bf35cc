"""The batches that training and validation read, made from the settings."""

import math
from typing import NamedTuple

from ram_tf.data.pipelines import ONE_DEVICE, evaluation_pipeline, training_pipeline
from ram_tf.data.split import Split, epoch_order


class TrainingBatches(NamedTuple):
    """The training batches of a split, in an order that depends on seed and epoch.

    Args:
        split: The training split.
        seed: Seed of the order of the images.
        size: Images per batch.
    """

    split: Split
    seed: int
    size: int

    @property
    def count(self):
        """The number of batches per epoch."""
        return len(self.split) // self.size

    def pipeline(self, settings, epochs, context=ONE_DEVICE, skipped=0):
        """Returns the augmented batches as a `tf.data.Dataset`.

        Args:
            settings: The `Config`.
            epochs: A range of epoch numbers, from 0.
            context: See `training_pipeline`.
            skipped: The number of batches to leave out at the begin.
        """
        return training_pipeline(
            self.split,
            settings.image.image_size,
            settings.image.crop,
            settings.image.flip,
            self.size,
            epochs,
            self.seed,
            zooms=settings.image.zoom_factors,
            max_pixels=settings.data.max_pixels,
            truncated=settings.data.truncated,
            context=context,
            colour_jitter=settings.image.colour_jitter,
            skipped=skipped,
        )

    def check_finite(self, loss, epoch, batch):
        """Raises a `FloatingPointError` if a loss is not finite, with the images."""
        if math.isfinite(loss):
            return
        order = epoch_order(len(self.split), self.seed, epoch)
        images = order[batch * self.size :][: self.size]
        raise FloatingPointError(
            "The loss is not finite. Expected a number; a smaller learning rate or "
            f"--clip_norm may help. Received: {loss} at epoch {epoch + 1}, step "
            f"{batch + 1}, images {', '.join(self.split.names[i] for i in images)}"
        )


def centre_crops(split, settings, batch_size):
    """Returns batches of a split's centre crops, each a tuple of one Keras input."""
    batches = evaluation_pipeline(
        split,
        [settings.image.image_size],
        [settings.image.crop],
        batch_size,
        settings.data.max_pixels,
        settings.data.truncated,
    )
    if split.proposals is None:
        return batches
    # Keras would take the boxes for labels if images and boxes were not nested.
    return batches.map(lambda images, boxes: ((images, boxes),))
