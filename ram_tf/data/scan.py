"""Decodes every image of a split once, to know the unreadable ones and duplicates."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ram_tf.data import progress
from ram_tf.data.image_bytes import encoded_reader
from ram_tf.data.images import image_faults
from ram_tf.data.images.decoding import MAX_PIXELS, decode_image
from ram_tf.data.images.image_faults import REFUSE
from ram_tf.data.pipelines import untuned
from ram_tf.data.pixel_cache import CachedPixels
from ram_tf.storage.file_ranges import FileRange

GREY_SHAPE = (16, 18)  # see `duplicates`
LUMA = (0.299, 0.587, 0.114)


class Scan(NamedTuple):
    """What reading every image of a split once has shown.

    Args:
        unreadable: The indices of images that cannot be read.
        greys: `(n, 16, 18)` uint8, see `to_grey`; 0 for unreadable images.
        pixels: The `CachedPixels` of all images; None without a cache.
    """

    unreadable: np.ndarray
    greys: np.ndarray
    pixels: CachedPixels | None


def scan(split, max_pixels=MAX_PIXELS, truncated=REFUSE, cache=None):
    """Decodes every image of a split, except where a cache on disk holds all of them.

    Args:
        split: The `Split`.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.
        cache: A `PixelCache` to store the pixels in; None for none.

    Returns:
        A `Scan`.
    """
    known = cache.recall(split) if cache else None
    if known:
        return Scan(*known)
    encoded, stored = encoded_reader(split), [None] * len(split)

    def decode(index):
        return decode_image(encoded(index), max_pixels, truncated)

    pixels = cache.reader(split, decode) if cache else decode

    def try_image(index):
        image = pixels(index)
        return index, to_grey(image), image if cache else ()

    found = np.zeros(len(split), bool)
    greys = np.zeros((len(split), *GREY_SHAPE), np.uint8)
    readable = _tried(split, try_image)
    bar = progress.bar(readable, "reading images", len(split), "img")
    for index, grey, image in bar:
        found[index], greys[index] = True, grey
        if cache:
            stored[index] = cache.store(split.images[index], image)
    unreadable = np.flatnonzero(~found)
    if not cache:
        return Scan(unreadable, greys, None)
    cache.remember(split, unreadable, greys)
    pixels = CachedPixels(cache.edge, stored, np.arange(len(split)))
    return Scan(unreadable, greys, pixels)


def to_grey(image):
    """Shrinks an image `(H, W, 3)` to `(16, 18)` uint8, by which duplicates are found.

    It needs little time beside the decoding of the image.
    """
    small = tf.image.resize(image, GREY_SHAPE, antialias=True)
    return tf.cast(tf.round(tf.linalg.matvec(small, LUMA)), tf.uint8)


def find_unreadable(split, max_pixels=MAX_PIXELS, truncated=REFUSE):
    """Returns the indices of a split's unreadable images; see `scan`."""
    return scan(split, max_pixels, truncated).unreadable


class ReadImage(NamedTuple):
    """An image that was decoded once.

    Args:
        index: Its index in the split.
        grey: `(16, 18)` uint8, see `to_grey`.
        shape: Height, width and channels, upright.
        encoded: The bytes of its file.
    """

    index: int
    grey: np.ndarray
    shape: np.ndarray
    encoded: bytes


def readable_images(split, max_pixels=MAX_PIXELS, truncated=REFUSE):
    """Yields a `ReadImage` for each image that can be decoded, in order.

    Args:
        split: The `Split`.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.
    """
    read = encoded_reader(split)

    def try_image(index):
        encoded = read(index)
        image = decode_image(encoded, max_pixels, truncated)
        return ReadImage(index, to_grey(image), tf.shape(image), encoded)

    return _tried(split, try_image)


def _tried(split, function):
    """Returns an iterator over a function of each index, without those that fail."""
    return (
        tf.data.Dataset.range(len(split))
        .map(function, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
        .with_options(untuned())
        .as_numpy_iterator()
    )


def describe_unreadable(split, indices, max_pixels=MAX_PIXELS, truncated=REFUSE):
    """Says why images of a split cannot be read.

    Args:
        split: The `Split`.
        indices: The indices of unreadable images, see `scan`.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.

    Returns:
        A `Fault` of `image_faults` per index.
    """
    limits = max_pixels, truncated
    return [_find_fault(split.images[index], *limits) for index in indices]


def _find_fault(image, *limits):
    if isinstance(image, FileRange):
        try:
            image = image.read()
        except (OSError, ValueError) as error:
            return image_faults.Fault("reading error", str(error))
    if isinstance(image, bytes):
        return image_faults.find_fault(image, *limits)
    return image_faults.find_fault_of_file(image, *limits)
