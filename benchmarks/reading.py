"""Compares the reading of images in an exported graph with the bare operations.

- `reading`: `export.read_images` on one photograph: what a request's image passes.
- `functions`: decoding, resizing and cropping of the same photograph in a
  `tf.function`, without any check of its header, its size or its orientation; where it
  fails, the call does.
"""

import tensorflow as tf

from benchmarks.timing import Candidate, Ratio
from ram_tf.data.image_bytes import read_files
from ram_tf.data.images.resizing import centre_crop, resize
from ram_tf.serving.formats.export import read_images

RATIOS = (Ratio("reading_over_functions", "reading", "functions", at_most=1.5),)
CALLS = 50  # in a row, since one takes a few milliseconds


def candidates(subject):
    """Builds the `Candidate`s of `RATIOS`, by name."""
    image, limit = subject.settings.image, subject.settings.data.max_pixels
    size, crop = image.image_size, image.crop
    encoded = tf.constant([*read_files(subject.split.take([0]))])

    def reading(image_bytes):
        return read_images(image_bytes, [size], [crop], limit)

    def functions(image_bytes):
        image = tf.io.decode_jpeg(
            image_bytes[0], channels=3, dct_method="INTEGER_ACCURATE"
        )
        return centre_crop(resize(image, size), crop)[None]

    return {
        each.__name__: Candidate(repeated(each, encoded), CALLS)
        for each in (reading, functions)
    }


def repeated(function, encoded):
    """Returns a function that calls another `CALLS` times, as a graph."""
    graph = tf.function(function, [tf.TensorSpec([None], tf.string)], autograph=False)

    def run():
        for _ in range(CALLS):
            graph(encoded)

    return run
