"""Builds the input pipelines: reads, resizes, crops, flips and batches images.

`prepare_image` turns a decoded image into the model's input. The exported graph, which
skips unreadable images and may cut several views, uses the same functions. Training
adds a random crop and flip and, optionally, colour jitter.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ram_tf.data import progress
from ram_tf.data.augmentation import (
    Place,
    boxes_in_crop,
    cut,
    jitter_colours,
    mirror,
    random_edge,
    random_place,
)
from ram_tf.data.images import image_faults
from ram_tf.data.images.decoding import MAX_PIXELS, decode_image
from ram_tf.data.images.image_faults import REFUSE
from ram_tf.data.pixel_cache import CachedPixels
from ram_tf.data.split import epoch_order
from ram_tf.storage.file_ranges import FileRange, FileRanges

ONE_DEVICE = tf.distribute.InputContext()
GREY_SHAPE = (16, 18)  # see `duplicates`
LUMA = (0.299, 0.587, 0.114)


def resize(image, size):
    """Resizes images `(..., H, W, 3)` to `size` x `size`, ignoring the aspect ratio
    (section 5.1); float32 in [0, 255].
    """  # noqa: D205

    def resized(antialias):
        return lambda: tf.image.resize(image, (size, size), antialias=antialias)

    # Enlarging needs no antialiasing: the same pixels in a quarter of the time.
    return tf.cond(_shrinks(image, size), resized(True), resized(False))


def _shrinks(images, size):
    return tf.reduce_max(tf.shape(images)[-3:-1]) > size


def resize_and_crop(image, size, crop, place):
    """Resizes an image and crops it, as `cut(resize(image, size), crop, place)`.

    Where the image shrinks, only the pixels of the crop are computed. They differ by
    the rounding of coordinates, by less than 1e-4 of their range.

    Args:
        image: `(H, W, 3)`.
        size: N, the edge to resize to, in pixels.
        crop: The edge of the crop.
        place: The crop's `Place` in the resized image.

    Returns:
        `(crop, crop, 3)` float32 in [0, 255].
    """

    def crop_alone():
        # What `tf.image.resize` calls for antialiasing, at another place.
        pixels = tf.raw_ops.ScaleAndTranslate(
            images=image[None],
            size=[crop, crop],
            scale=tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32),
            translation=-tf.cast(tf.stack([place.top, place.left]), tf.float32),
            kernel_type="triangle",
            antialias=True,
        )
        return mirror(tf.ensure_shape(pixels[0], [crop, crop, 3]), place)

    def crop_of_whole():
        whole = tf.image.resize(image, (size, size))
        return cut(whole, crop, place)

    return tf.cond(_shrinks(image, size), crop_alone, crop_of_whole)


def centre_crop(images, crop):
    """Crops images `(..., N, N, 3)` to their central `crop` x `crop` pixels."""
    top = (images.shape[-3] - crop) // 2
    return images[..., top : top + crop, top : top + crop, :]


def prepare_image(image, size, crop):
    """Turns a decoded image into the model's input (table 6, single-crop).

    Args:
        image: `(H, W, 3)` uint8.
        size: N; the image is resized to N x N.
        crop: The edge of the centre crop, N - 64 in the paper.

    Returns:
        `(crop, crop, 3)` float32 in [0, 255].
    """
    top = (size - crop) // 2
    return resize_and_crop(image, size, crop, Place(top, top))


def training_pipeline(
    split,
    size,
    crop,
    flip,
    batch_size,
    epochs,
    seed,
    *,
    zooms=(1.0,),
    max_pixels=MAX_PIXELS,
    truncated=REFUSE,
    context=ONE_DEVICE,
    colour_jitter=0.0,
    skipped=0,
):
    """Returns the training batches of some epochs, reproducible by seed.

    Args:
        split: The images to train on.
        size: N; images are resized to N x N.
        crop: The edge of the random crop.
        flip: Whether to flip at random.
        batch_size: Images per batch, at most the number of images. The remainder of an
            epoch is dropped; it is drawn again in each epoch.
        epochs: A range of epochs.
        seed: The seed of order, zooms, crops, flips and colours.
        zooms: One of these is drawn per image, which is resized to N * zoom before it
            is cropped (ours; the paper's is 1 only).
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.
        context: The `tf.distribute.InputContext` of a worker, which reads its own part
            of each batch, in one piece per device.
        colour_jitter: See `jitter_colours`.
        skipped: The number of batches to leave out at the begin.

    Returns:
        A `tf.data.Dataset` of images `(B, crop, crop, 3)` float32 in [0, 255] and
        labels `(B, L)`, with `len(split) // batch_size` batches per epoch. If the split
        has proposals, images are a pair with `(B, K, 4)` boxes as fractions of the
        crop.
    """
    edges = [round(size * zoom) for zoom in zooms]
    pixels = _pixels(split, max(edges), max_pixels, truncated)
    labels, proposals = tf.constant(split.labels), split.proposals

    def augmented(epoch, index):
        # A seed per image and epoch, independent of the worker and of the order.
        key = tf.random.fold_in(tf.constant([seed, 0]), epoch)
        key = tf.random.fold_in(key, index)
        edge = random_edge(edges, key)
        place = random_place(edge - crop, flip, key)
        image = resize_and_crop(pixels(index), edge, crop, place)
        image = jitter_colours(image, colour_jitter, tf.random.fold_in(key, 2))
        if proposals is None:
            return image, labels[index]
        boxes = boxes_in_crop(tf.gather(proposals, index), edge, crop, place)
        return (image, boxes), labels[index]

    return (
        _own_images(len(split), batch_size, epochs, seed, context, skipped)
        .map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
        # Static shapes need only one trace and allow XLA.
        .batch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(untuned())
    )


def _own_images(count, batch_size, epochs, seed, context, skipped):
    """Returns the epoch and the index of each image that a worker reads, in order.

    The order is drawn when an epoch begins: those of 45 epochs of a million images
    would take gigabytes.
    """
    workers, worker = context.num_input_pipelines, context.input_pipeline_id
    steps, own = count // batch_size, batch_size // workers

    def order(epoch):
        epoch = int(epoch)
        whole = epoch_order(count, seed, epoch)[: steps * batch_size]
        batches = whole.reshape(-1, workers, own)[:, worker]
        return np.ravel(batches[max(0, skipped - epochs.index(epoch) * steps) :])

    def of_epoch(epoch):
        indices = tf.numpy_function(order, [epoch], tf.int64, stateful=False)
        indices = tf.ensure_shape(indices, [None])
        repeated = tf.fill(tf.shape(indices), epoch)
        return tf.data.Dataset.from_tensor_slices((repeated, indices))

    total = (steps * len(epochs) - skipped) * own
    return (
        tf.data.Dataset.range(epochs.start, epochs.stop, epochs.step)
        .flat_map(of_epoch)
        .apply(tf.data.experimental.assert_cardinality(total))
    )


def evaluation_pipeline(
    split, sizes, crops, batch_size, max_pixels=MAX_PIXELS, truncated=REFUSE
):
    """Returns batches of prepared images, each image once, in order.

    Args:
        split: The images.
        sizes: The edges N that every image is resized to.
        crops: For each the edge of the centre crop, N for the whole image.
        batch_size: Images per batch; the last batch may be smaller.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.

    Returns:
        A `tf.data.Dataset` of tuples with `(B, crop, crop, 3)` for each of `sizes`. If
        the split has proposals, they come last: `(B, K, 4)` boxes as fractions of the
        first size's crop.
    """
    pixels = _pixels(split, max(sizes), max_pixels, truncated)
    proposals = split.proposals

    def prepare(index):
        image = pixels(index)
        images = tuple(
            prepare_image(image, size, crop)
            for size, crop in zip(sizes, crops, strict=True)
        )
        if proposals is None:
            return images
        top = (sizes[0] - crops[0]) // 2
        boxes = boxes_in_crop(
            tf.gather(proposals, index), sizes[0], crops[0], Place(top, top)
        )
        return *images, boxes

    return (
        tf.data.Dataset.range(len(split))
        .map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(untuned())
    )


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
    encoded, stored = _encoded(split), [None] * len(split)

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
    read = _encoded(split)

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


def untuned():
    """Returns pipeline options with a fixed number of threads, that of the cores.

    The end of a pipeline sometimes waits for TensorFlow 2.21's tuner, which sleeps for
    as long as the pipeline has run, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


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


def _pixels(split, edge, max_pixels, truncated):
    """Returns the function from an index to pixels that may be resized to `edge`."""
    if split.pixels is not None and split.pixels.edge >= edge:
        return split.pixels.reader()
    encoded = _encoded(split)
    return lambda index: decode_image(encoded(index), max_pixels, truncated)


def _encoded(split):
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
