"""The models and settings that are timed, and their data.

Weights are random, which does not change the speed; images that are not decoded are
noise. Labels are VOC's twenty.
"""

import dataclasses
import functools
import pathlib

import numpy as np
import tensorflow as tf

from benchmarks import photographs
from ram_tf.data.split import Split
from ram_tf.data.voc_reader import voc
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESETS, preset
from ram_tf.runs.run import Run

# Other backbones use the preset "photographs" at 320 pixels.
PRESET_OF = {"vgg16": "paper", "small": "digits"}
IMAGE_SIZE = {"vgg16": 512, "small": PRESETS["digits"]["image_size"]}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A backbone with its settings; builds models on demand.

    Args:
        folder: A temporary folder for photographs and SavedModels.
        settings: The `Config`.
        passed: The number of images in a pass through an input pipeline.
    """

    folder: pathlib.Path
    settings: Config
    passed: int = 512

    @classmethod
    def of(
        cls, folder, backbone, image_size=None, batch_size=8, model="rdar", **passed
    ):
        """Builds the subject of a backbone with its usual preset.

        Args:
            folder: See `Subject`.
            backbone: A key of `backbones.BACKBONES`.
            image_size: N in pixels; None for the backbone's usual size.
            batch_size: The number of images in a batch.
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
                # The paper's K; one size, as `input_pipeline.plain_map` has one.
                "regions": 5,
                "zooms": "1",
                "calibrate": False,  # nothing is trained
            }
        )
        return cls(pathlib.Path(folder), settings, **passed)

    def with_settings(self, **changes):
        """Returns a copy with changed settings and models of its own."""
        settings = self.settings.replace(**changes)
        return dataclasses.replace(self, settings=settings)

    @property
    def batch(self):
        """The number of images in a batch."""
        return self.settings.training.batch_size

    @property
    def run(self):
        """A `Run` for building models, without files."""
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
        """The attention model; step 1's classifier, its start, is freed."""
        return run_models.build_attention(self.run, self.build_pooled())

    def images(self, edge):
        """Returns a batch of noise, `(B, edge, edge, 3)` float32 in [0, 255]."""
        shape = (self.batch, edge, edge, 3)
        noise = np.random.default_rng(0).uniform(0, 255, shape)
        return tf.constant(noise, tf.float32)

    @functools.cached_property
    def labels(self):
        """Random labels of a batch, `(B, L)` int8, one or more per image."""
        drawn = np.random.default_rng(0).random((self.batch, len(voc.LABEL_NAMES)))
        return (drawn <= np.maximum(drawn.min(1, keepdims=True), 0.1)).astype("int8")

    @functools.cached_property
    def split(self):
        """A `Split` of `passed` JPEG files, which repeats a few photographs."""
        return self.split_of(photographs.write(self.folder / "photographs"))

    @functools.cached_property
    def large_split(self):
        """The same with files of 2000 x 1500 pixels."""
        return self.split_of(photographs.write(self.folder / "large", scale=4))

    def split_of(self, paths):
        """Returns a `Split` that repeats files until there are `passed` images."""
        images = tuple(str(paths[i % len(paths)]) for i in range(self.passed))
        rows = np.resize(self.labels, (self.passed, self.labels.shape[1]))
        return Split(images, images, rows, voc.LABEL_NAMES)
