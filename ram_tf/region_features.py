"""What the untouched backbone sees of images, and of regions where step 2 starts.

Step 1's own features know the labels of the images that they were trained on by heart,
so that nothing is left to learn there. `region_probe` and `spatial_prior_fit` learn
what regions say, and where, from the features that step 1 began with.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ram_tf import backbones, losses
from ram_tf.preprocessing import evaluation_pipeline
from ram_tf.spatial_transformer import sample_region

MAX_IMAGES = 5000  # with 26 regions of 2048 numbers a gigabyte, held three times
# RARL's regions are of nine sizes and lie where its policy says: it is shown as many
# regions, of such a size, as RDAR begins with in the preset.
NUM_REGIONS, SCALE = 9, 0.4


@dataclasses.dataclass(frozen=True)
class RegionFeatures:
    """Averages of feature maps over whole images and over regions.

    Args:
        whole: `(n, D)` float32.
        regions: `(n, R, D)` float32.
        labels: `(n, L)` 1, 0 or -1.
        theta: `(R, 4)` float32: where the regions lie in every image.
    """

    whole: np.ndarray
    regions: np.ndarray
    labels: np.ndarray
    theta: np.ndarray

    def take(self, chosen):
        """Those of some images, by their indices or a mask."""
        return RegionFeatures(
            self.whole[chosen], self.regions[chosen], self.labels[chosen], self.theta
        )


def look(split, settings):
    """Looks at the centre crops of a split's images with the untouched backbone.

    Without pretrained weights that is the one which step 1 of the same seed draws
    first. For it, what is random in this process begins again with the seed.

    Args:
        split: The images; of more than 5,000 as many are drawn.
        settings: The `Config`.

    Returns:
        Their `RegionFeatures`.
    """
    if len(split) > MAX_IMAGES:
        chosen = np.random.default_rng(settings.seed).permutation(len(split))
        split = split.take(np.sort(chosen[:MAX_IMAGES]))
    count, scale = NUM_REGIONS, SCALE
    if settings.model == "rdar":
        count, scale = settings.regions, settings.start_scale
    theta = np.array(losses.starting_regions(count, scale), "float32")
    keras.utils.set_random_seed(settings.seed)
    backbone = backbones.build(settings.backbone, settings.weights)
    edge = (settings.region_size,) * 2

    @tf.function(autograph=False, reduce_retracing=True)
    def see(images):
        features = backbone(images)
        batch = tf.shape(features)[0]
        regions = sample_region(features, tf.tile(theta[None], [batch, 1, 1]), edge)
        return tf.reduce_mean(features, [1, 2]), tf.reduce_mean(regions, [2, 3])

    size = settings.batch_size
    batches = evaluation_pipeline(
        split, [settings.image_size], settings.crop, size, settings.max_pixels
    )
    total = math.ceil(len(split) / size)
    seen = [
        see(images)
        for (images,) in tqdm(batches, "regions", total, unit="batch", leave=False)
    ]
    whole, regions = (np.concatenate(part) for part in zip(*seen, strict=True))
    return RegionFeatures(whole, regions, split.labels, theta)
