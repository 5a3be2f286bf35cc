"""Builds the input pipelines: reads, resizes, crops, flips and batches images.

`prepare_image` turns a decoded image into the model's input. The exported graph, which
skips unreadable images and may cut several views, uses the same functions. Training
adds a random crop and flip and, optionally, colour jitter.
"""

import numpy as np
import tensorflow as tf

from ram_tf.data.augmentation import (
    Place,
    boxes_in_crop,
    jitter_colours,
    random_edge,
    random_place,
)
from ram_tf.data.image_bytes import encoded_reader
from ram_tf.data.images.decoding import MAX_PIXELS, decode_image
from ram_tf.data.images.image_faults import REFUSE
from ram_tf.data.images.resizing import prepare_image, resize_and_crop
from ram_tf.data.split import epoch_order

ONE_DEVICE = tf.distribute.InputContext()


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


def untuned():
    """Returns pipeline options with a fixed number of threads, that of the cores.

    The end of a pipeline sometimes waits for TensorFlow 2.21's tuner, which sleeps for
    as long as the pipeline has run, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _pixels(split, edge, max_pixels, truncated):
    """Returns the function from an index to pixels that may be resized to `edge`."""
    if split.pixels is not None and split.pixels.edge >= edge:
        return split.pixels.reader()
    encoded = encoded_reader(split)
    return lambda index: decode_image(encoded(index), max_pixels, truncated)
