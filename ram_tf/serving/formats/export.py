"""Exports trained models as SavedModels, which other programs can run.

The signature `serving_default` takes encoded images, JPEG or PNG and no other format
(`ram_tf.data.images.conversion` converts some), `serving_images` decoded images of one
size. Both prepare images in the graph, with the functions that evaluation uses.
"""

import contextlib
import json
import os
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from ram_tf.data.images import exif, header_checks
from ram_tf.data.images.decoding import decode_checked
from ram_tf.data.images.image_faults import REFUSE
from ram_tf.data.images.resizing import prepare_image, resize
from ram_tf.data.pipelines import untuned
from ram_tf.models.multi_view import cut_images
from ram_tf.serving import extras
from ram_tf.serving.formats import model_card
from ram_tf.serving.formats.stored_network import StoredNetwork
from ram_tf.storage import atomic_files, locks

LABELS = "labels.txt"
METADATA = (LABELS, "config.json", "views.json")  # the keys of `metadata`
WARMUP = "tf_serving_warmup_requests"  # name that TensorFlow Serving expects
# The batches that the server forms, as in deploy/batching.config.
BATCHES = (1, 2, 4, 8, 16, 32)


def serve_bytes(view, max_pixels, truncated=REFUSE):
    """Builds the function of the signature `serving_default`.

    Args:
        view: A `MultiView` or a wrapper of one.
        max_pixels: Images with more pixels count as unreadable.
        truncated: See `ram_tf.data.images.decoding.decode_image`.

    Returns:
        A function from `image_bytes` `(B,)`, strings of one JPEG or PNG each, to the
        view's dict and `valid` `(B,)`: false for unreadable images. The rest of such a
        row is zero; other rows are not affected.
    """

    def serve(image_bytes):
        images, valid = read_images(
            image_bytes, view.sizes, view.crops, max_pixels, truncated
        )
        outputs = {name: _mask(valid, value) for name, value in view(images).items()}
        outputs["valid"] = valid
        batch = tf.size(image_bytes)
        return {name: value[:batch] for name, value in outputs.items()}

    return serve


def read_images(image_bytes, sizes, crops, max_pixels, truncated=REFUSE):
    """Decodes, resizes and crops the readable images of a batch.

    Args:
        image_bytes: `(B,)` strings of one JPEG or PNG each.
        sizes: Edges N, in pixels, that every image is resized to.
        crops: For each the edge of the centre crop, N for the whole image.
        max_pixels: Images with more pixels count as unreadable.
        truncated: See `ram_tf.data.images.decoding.decode_image`.

    Returns:
        A tuple with `(B, crop, crop, 3)` float32 in [0, 255] for each of `sizes`, zero
        for unreadable images, and `valid` `(B,)`. An empty batch becomes one invalid
        row, since some kernels do not accept empty batches.
    """
    # A graph cannot catch an error, but a tf.data pipeline inside it can drop the
    # element. The pipeline is built at each call, which takes longer the more it
    # contains: operations that cannot fail stay outside.
    decodable, is_jpeg, orientation = tf.map_fn(
        _read_header, image_bytes, fn_output_signature=(tf.bool, tf.bool, tf.int32)
    )
    rows = tf.where(decodable)[:, 0]
    parts = (tf.gather(each, rows) for each in (image_bytes, is_jpeg, orientation))

    def prepare(row, encoded, is_jpeg, orientation):
        image = decode_checked(encoded, is_jpeg, orientation, max_pixels, truncated)
        prepared = zip(sizes, crops, strict=True)
        return row, *(prepare_image(image, size, crop) for size, crop in prepared)

    batch = tf.maximum(tf.size(image_bytes, tf.int64), 1)
    options = untuned()
    options.experimental_optimization.apply_default_optimizations = False
    # `get_single_element` costs a tenth of `reduce`, but fails where nothing is left:
    # then an empty batch is.
    empty = (tf.zeros([0], tf.int64), *(tf.zeros([0, n, n, 3]) for n in crops))
    rows, *images = (
        tf.data.Dataset.from_tensor_slices((rows, *parts))
        .map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
        .batch(batch)
        .concatenate(tf.data.Dataset.from_tensors(empty))
        .take(1)
        .with_options(options)
        .get_single_element()
    )

    def in_their_rows():
        return tuple(
            tf.scatter_nd(rows[:, None], read, [batch, crop, crop, 3])
            for read, crop in zip(images, crops, strict=True)
        )

    # Where every image is readable, no pixel is copied again.
    complete = tf.equal(tf.size(rows, tf.int64), batch)
    images = tf.cond(complete, lambda: tuple(images), in_their_rows)
    valid = tf.scatter_nd(rows[:, None], tf.ones_like(rows), batch[None]) > 0
    return images, valid


def _read_header(encoded):
    """Reads whether an image may be decoded, if it is a JPEG, and its orientation."""
    header = header_checks.read_header(encoded)
    decodable = header.is_supported & header.usual_parts
    return decodable, header.is_jpeg, exif.orientation(encoded)


def serve_images(view):
    """Builds the function of the signature `serving_images`.

    Returns:
        A function from `images` `(B, H, W, 3)` uint8 to the dict of `serve_bytes`, with
        `valid` all true.
    """

    def serve(images):
        # Cropped as `read_images` does, so that both signatures share one graph.
        inputs = tuple(
            cut_images(resize(images, size), size, crop, 1)[:, 0]
            for size, crop in zip(view.sizes, view.crops, strict=True)
        )
        outputs = view(inputs)
        return {**outputs, "valid": tf.ones(tf.shape(images)[:1], tf.bool)}

    return serve


def _mask(valid, values):
    shape = [-1] + [1] * (len(values.shape) - 1)
    return tf.where(tf.reshape(valid, shape), values, tf.zeros_like(values))


def export(view, run, parent, warm_up=False, weight_bits=32, licence=None):
    """Writes a SavedModel under the next free version number.

    The version is written to a temporary folder and then renamed, so that a server that
    watches `parent` never loads an incomplete one.

    Args:
        view: A `MultiView` of trained models, or a wrapper of one.
        run: Its `Run`, for settings, label names and results.
        parent: `saved_models/<name>`; versions are its numbered folders.
        warm_up: Whether to write warm-up requests for TensorFlow Serving; needs the
            extra `serving`.
        weight_bits: 32 or 16, see `StoredNetwork`.
        licence: Identifier of the model's licence for its card, such as "apache-2.0".

    Returns:
        The folder of the new version. In addition to the SavedModel it holds the texts
        of `metadata`: `assets/labels.txt`, `assets.extra/config.json` and
        `assets.extra/views.json`; and its card, `README.md`.

    Raises:
        OSError: The folder cannot be written; the message names it.
    """
    limits = run.config.data.max_pixels, run.config.data.truncated
    network = StoredNetwork(view, weight_bits)
    signatures = {
        "serving_default": tf.function(
            serve_bytes(network, *limits),
            [tf.TensorSpec([None], tf.string, name="image_bytes")],
            autograph=False,
        ),
        "serving_images": tf.function(
            serve_images(network),
            [tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")],
            autograph=False,
        ),
    }
    parent = pathlib.Path(parent)
    with _temporary_folder(parent) as temporary:
        network.save(str(temporary), signatures)
        for written in files_of_graph(temporary):
            atomic_files.add_checksum(written)
        for folder in ("assets", "assets.extra"):
            (temporary / folder).mkdir(exist_ok=True)
        card = model_card.Card(parent.name, licence=licence, weight_bits=weight_bits)
        text = card.text(run, view.about)
        (temporary / model_card.FILE).write_text(text, "utf-8")
        texts = metadata(view, run)
        (temporary / "assets" / LABELS).write_text(texts.pop(LABELS), "utf-8")
        for name, text in texts.items():
            with atomic_files.write_with_checksum(
                temporary / "assets.extra" / name
            ) as file:
                file.write_text(text)
        if warm_up:
            write_warmup(temporary / "assets.extra", parent.name)
        return _rename_to_next_version(temporary, parent)


def files_of_graph(version):
    """Lists the files of a version that TensorFlow loads: graph and variables."""
    return [version / "saved_model.pb", *(version / "variables").glob("variables.*")]


@contextlib.contextmanager
def _temporary_folder(parent):
    """Yields the path of a folder to write a version to, and removes it at the end.

    Also removes the folders of processes that were killed.
    """
    # TensorFlow Serving ignores folders whose names are not numbers.
    temporary = parent / f"partial-{os.getpid()}"
    own = temporary.with_suffix(".lock")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        locks.take(own)
        try:
            _remove_abandoned(parent)
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            locks.release(own)
    except (OSError, tf.errors.OpError) as error:
        # Errors of this package have a complete message, and no errno.
        if isinstance(error, OSError) and error.errno is None:
            raise
        raise OSError(
            "The SavedModel cannot be written. Expected room and permission in "
            f"{parent}. Received: {str(error).splitlines()[0]}"
        ) from error


def _remove_abandoned(parent):
    own = parent / f"partial-{os.getpid()}.lock"
    # A killed process with the same id may have left a folder of the same name.
    shutil.rmtree(own.with_suffix(""), ignore_errors=True)
    for lock in {*parent.glob("partial-*.lock")} - {own}:
        # A lock that is held belongs to an export in progress.
        with contextlib.suppress(BlockingIOError):
            if locks.take(lock):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                locks.release(lock)


def metadata(view, run):
    """Makes the texts that are exported with a model in every format, name to text.

    They are `labels.txt`, the labels in the order of the scores; `config.json`, the
    settings of the run without folders of this computer; and `views.json`,
    `MultiView.about`.
    """
    return {
        LABELS: "".join(f"{name}\n" for name in run.label_names),
        "config.json": run.config.without_folders().to_json(run.label_names),
        "views.json": json.dumps(view.about, indent=2) + "\n",
    }


def _rename_to_next_version(temporary, parent):
    versions = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    version = max(versions, default=0) + 1
    while True:
        try:
            # Fails if another export has taken the number in the meantime.
            temporary.rename(parent / str(version))
            return parent / str(version)
        except OSError:
            if not (parent / str(version)).exists():
                raise
            version += 1


def write_warmup(folder, model_name):
    """Writes requests that TensorFlow Serving sends to itself when it loads a version.

    The first call of each signature is slow, since TensorFlow optimises its graph then,
    and so is that of each size of batch, for which oneDNN chooses its kernels. With a
    request of each no client waits for it.

    Args:
        folder: `assets.extra` of a version.
        model_name: The name under which the model is served.

    Raises:
        ModuleNotFoundError: The extra `serving` is missing.
    """
    with extras.required("serving", "Writing warm-up requests"):
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    image = np.full((64, 64, 3), 128, "uint8")  # of any size, as it is resized
    encoded = tf.io.encode_jpeg(image).numpy()
    inputs = {
        "serving_default": ("image_bytes", [encoded]),
        "serving_images": ("images", image[None]),
    }
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        for signature, (name, value) in inputs.items():
            for count in BATCHES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = signature
                batch = tf.make_tensor_proto(np.repeat(value, count, 0))
                request.inputs[name].CopyFrom(batch)
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(request)
                writer.write(log.SerializeToString())
