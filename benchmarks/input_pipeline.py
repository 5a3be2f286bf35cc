"""The training pipeline, beside the functions that it is made of.

- `pipeline`: `preprocessing.training_pipeline`, a whole pass over JPEG files.
- `functions`: the same functions of an image (read, decode, resize, cut, mirror) in a
  plain parallel `map`, one image after another: no order, no seeds, no batches.

Both start anew for every pass, with as many threads as cores.
"""

import tensorflow as tf

from benchmarks.timing import Candidate, Figure
from ram_tf.data.decoding import decode_image
from ram_tf.data.pipelines import Place, cut, resize, training_pipeline, untuned

# A throughput: the time of the functions over that of the pipeline.
FIGURES = (Figure("pipeline_over_functions", "functions", "pipeline", at_least=0.9),)


def candidates(subject):
    """The `Candidate`s of `FIGURES` by name."""
    plain = functions(subject)
    return {
        "functions": Candidate(lambda: count(plain), subject.passed),
        "pipeline": ours(subject),
    }


def ours(subject):
    """A `Candidate`: a pass through the package's pipeline."""
    settings, batch = subject.settings, subject.batch
    pipeline = training_pipeline(
        subject.split,
        settings.image.image_size,
        settings.image.crop,
        settings.image.flip,
        batch,
        range(1),
        settings.training.seed,
        settings.image.zoom_factors,
        settings.data.max_pixels,
        colour_jitter=settings.image.colour_jitter,
    )
    return Candidate(lambda: count(pipeline), subject.passed // batch * batch)


def functions(subject):
    """The `tf.data.Dataset` of images `(crop, crop, 3)`, one by one."""
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
    """Goes through a dataset to its end, and says how many elements it has."""
    return sum(1 for _ in dataset)
