"""Reads the encoded bytes of a split's images, in Python and in a graph."""

import numpy as np
import tensorflow as tf

from ram_tf.storage.file_ranges import FileRange, FileRanges


def read_files(split):
    """Yields the encoded bytes of each image of the split, in order."""
    for image in split.images:
        yield read_file(image)


def read_file(image):
    """Returns the encoded bytes of an image of a `Split`."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, FileRange):
        return image.read()
    return tf.io.read_file(image).numpy()


def encoded_reader(split):
    """Returns the function from an index to the encoded bytes of that image."""
    if isinstance(split.images, FileRanges):
        return _range_reader(split.images)
    images = tf.constant(np.array(split.images, dtype=object))
    if split.images and isinstance(split.images[0], bytes):
        return lambda index: images[index]
    return lambda index: tf.io.read_file(images[index])


def _range_reader(ranges):
    """Returns the function from an index to the bytes of that part of a file."""

    def read(index):
        # As an object, since NumPy's own type of bytes drops zeros at the end.
        return np.array(ranges[index].read(), object)

    def encoded(index):
        # A Python function: TensorFlow has no operation that reads a part of a file.
        content = tf.numpy_function(read, [index], tf.string, stateful=False)
        return tf.ensure_shape(content, [])

    return encoded
