"""What is timed: models and settings of the package, on made-up data.

Weights are random, since speed does not depend on them, and images are noise where they
are not decoded. Labels are VOC's twenty.
"""

import dataclasses
import functools
import pathlib

import numpy as np
import tensorflow as tf

from benchmarks import photographs
from ram_tf.data.readers import voc
from ram_tf.data.split import Split
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESETS, preset
from ram_tf.runs.run import Run

# VGG-16 as in the paper, small networks as on photographs.
PRESET_OF = {"vgg16": "paper", "small": "digits"}
IMAGE_SIZE = {"vgg16": 512, "small": PRESETS["digits"]["image_size"]}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A backbone with its settings; models are built where they are asked for.

    Args:
        folder: For photographs and SavedModels, a temporary one.
        settings: The `Config`.
        passed: Images of one pass through an input pipeline.
    """

    folder: pathlib.Path
    settings: Config
    passed: int = 512

    @classmethod
    def of(
        cls, folder, backbone, image_size=None, batch_size=8, model="rdar", **passed
    ):
        """A backbone with the preset that it is used with.

        Args:
            folder: See `Subject`.
            backbone: A key of `backbones.BACKBONES`.
            image_size: N; None for 512 with VGG-16 and 320 with small networks.
            batch_size: Images a batch.
            model: "rdar" or "rarl".
            **passed: See `Subject`.

        Raises:
            ValueError: The size leaves no room for the crop margin.
        """
        settings = Config.of(
            **{
                **preset(PRESET_OF.get(backbone, "photographs"), model),
                "model": model,
                "backbone": backbone,
                "weights": "none",
                "image_size": image_size or IMAGE_SIZE.get(backbone, 320),
                "batch_size": batch_size,
                # The paper's K, and the one size that `functions` resizes to.
                "regions": 5,
                "zooms": "1",
                "calibrate": False,  # nothing is trained that could be
            }
        )
        return cls(pathlib.Path(folder), settings, **passed)

    def with_settings(self, **changes):
        """The same with other settings, and with models of its own."""
        settings = self.settings.replace(**changes)
        return dataclasses.replace(self, settings=settings)

    @property
    def batch(self):
        """Images a batch."""
        return self.settings.training.batch_size

    @property
    def run(self):
        """A `Run` that builds models; nothing of it is on disk."""
        return Run(self.folder, self.settings, voc.LABEL_NAMES)

    def build_pooled(self):
        """Builds step 1's classifier."""
        settings = self.settings
        pooling = (
            "average" if settings.model.pooling == "best" else settings.model.pooling
        )
        return run_models.build_pooled(self.run, pooling, pretrained=False)

    @functools.cached_property
    def model(self):
        """The attention model. Step 1's classifier, which it starts from, is let go."""
        return run_models.build_attention(self.run, self.build_pooled())

    def images(self, edge):
        """A batch of noise `(B, edge, edge, 3)` float32 in [0, 255]."""
        shape = (self.batch, edge, edge, 3)
        noise = np.random.default_rng(0).uniform(0, 255, shape)
        return tf.constant(noise, tf.float32)

    @functools.cached_property
    def labels(self):
        """Made-up labels of a batch, `(B, L)` int8, one or more an image."""
        drawn = np.random.default_rng(0).random((self.batch, len(voc.LABEL_NAMES)))
        return (drawn <= np.maximum(drawn.min(1, keepdims=True), 0.1)).astype("int8")

    @functools.cached_property
    def split(self):
        """A `Split` of JPEG files: as many as a pass takes, each several times."""
        paths = photographs.write(self.folder / "photographs")
        images = tuple(str(paths[i % len(paths)]) for i in range(self.passed))
        rows = np.resize(self.labels, (self.passed, self.labels.shape[1]))
        return Split(images, images, rows, voc.LABEL_NAMES)
