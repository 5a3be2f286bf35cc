"""Compares the training pipeline with the functions that it calls.

- `pipeline`: `pipelines.training_pipeline`, a whole pass over JPEG files.
- `functions`: the same operations (read, decode, resize, crop, mirror) in a plain
  parallel `map`, image by image, without order, seeds and batches.
- `large`: the pipeline on photographs of 2000 x 1500 pixels; `ram` and `disk`, where
  `pixel_cache` holds them already.

All are restarted for every pass, with as many threads as cores.
"""

import dataclasses

import tensorflow as tf

from benchmarks.timing import Candidate, Ratio
from ram_tf.data.augmentation import Place, cut
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.resizing import resize
from ram_tf.data.pipelines import training_pipeline, untuned
from ram_tf.data.pixel_cache import PixelCache
from ram_tf.data.scan import scan

# A ratio of throughputs: the time of the functions over that of the pipeline.
RATIOS = (
    Ratio("pipeline_over_functions", "functions", "pipeline", at_least=0.9),
    Ratio("ram_cache_over_decoding", "large", "ram", at_least=2),
    Ratio("disk_cache_over_decoding", "large", "disk", at_least=2),
)


def candidates(subject):
    """Builds the `Candidate`s of `RATIOS`, by name."""
    images = plain_map(subject)
    return {
        "functions": Candidate(lambda: count(images), subject.passed),
        "pipeline": package_pipeline(subject, subject.split),
        "large": package_pipeline(subject, subject.large_split),
        "ram": package_pipeline(subject, cached(subject, None)),
        "disk": package_pipeline(subject, cached(subject, subject.folder / "pixels")),
    }


def cached(subject, folder):
    """Returns the large split with its pixels stored in a folder; None for memory."""
    image, data = subject.settings.image, subject.settings.data
    limits = data.max_pixels, data.truncated
    cache = PixelCache(image.largest_edge, folder, limits)
    pixels = scan(subject.large_split, cache=cache).pixels
    return dataclasses.replace(subject.large_split, pixels=pixels)


def package_pipeline(subject, split):
    """Builds the `Candidate` of a pass through the package's pipeline."""
    settings, batch = subject.settings, subject.batch
    pipeline = training_pipeline(
        split,
        settings.image.image_size,
        settings.image.crop,
        settings.image.flip,
        batch,
        range(1),
        settings.training.seed,
        zooms=settings.image.zoom_factors,
        max_pixels=settings.data.max_pixels,
        colour_jitter=settings.image.colour_jitter,
    )
    return Candidate(lambda: count(pipeline), subject.passed // batch * batch)


def plain_map(subject):
    """Builds a `tf.data.Dataset` of single images `(crop, crop, 3)`."""
    settings = subject.settings
    size, crop = settings.image.image_size, settings.image.crop

    def prepare(path):
        image = decode_image(tf.io.read_file(path), settings.data.max_pixels)
        top, left = tf.unstack(tf.random.uniform([2], 0, size - crop + 1, tf.int32))
        mirrored = tf.random.uniform([]) < 0.5 if settings.image.flip else False
        return cut(resize(image, size), crop, Place(top, left, mirrored))

    paths = tf.data.Dataset.from_tensor_slices(list(subject.split.images))
    images = paths.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    return images.with_options(untuned())


def count(dataset):
    """Iterates over a dataset and counts its elements."""
    return sum(1 for _ in dataset)
