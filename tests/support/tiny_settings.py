"""Settings and labels of a run that is built but not trained."""

from ram_tf.runs.config import Config

NAMES = ("cat", "dog", "fish")
TINY = Config.of(
    dataset="digits",
    image_size=40,
    crop_margin=8,
    backbone="small",
    weights="none",
    regions=2,
    region_size=4,
    region_pooling="max",
    units=12,
    starts="anchors",
    loss="bce",
)


def change(**changes):
    return TINY.replace(**changes)
