"""From a trained model to a SavedModel that other programs run.

`serving_default` takes encoded images, `serving_images` decoded ones of one size. Both
prepare them in the graph, by the functions that evaluation uses.
"""

import contextlib
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import tensorflow as tf

from ram_tf.data import exif, image_header
from ram_tf.data.decoding import decode_known
from ram_tf.data.pipelines import resize, untuned
from ram_tf.storage import atomic_files, locks

LABELS = "labels.txt"
DESCRIBED = (LABELS, "config.json", "views.json")  # what goes with every model
WARMUP = "tf_serving_warmup_requests"  # TensorFlow Serving looks for it in assets.extra


def serve_bytes(view, max_pixels):
    """Builds the function of `serving_default`.

    Args:
        view: A `MultiView` or what wraps one.
        max_pixels: Larger images count as unreadable.

    Returns:
        A function from `image_bytes` `(B,)` strings, a JPEG or PNG each, to the view's
        dict and `valid` `(B,)`: false where the bytes are no image or one of more than
        `max_pixels`. The rest of such a row is zero, and other rows are unharmed.
    """

    def serve(image_bytes):
        images, valid = read_images(image_bytes, view.sizes, max_pixels)
        outputs = {name: _where(valid, value) for name, value in view(images).items()}
        outputs["valid"] = valid
        batch = tf.size(image_bytes)
        return {name: value[:batch] for name, value in outputs.items()}

    return serve


def read_images(image_bytes, sizes, max_pixels):
    """Prepares the images of a batch that can be read.

    Args:
        image_bytes: `(B,)` strings, a JPEG or PNG each.
        sizes: Edges N that every image is resized to.
        max_pixels: Larger images count as unreadable.

    Returns:
        A tuple with `(B, N, N, 3)` float32 in [0, 255] for each of `sizes`, zero where
        the bytes are no image, and `valid` `(B,)`. An empty batch has one invalid row,
        since some kernels refuse none.
    """
    # A graph cannot catch an error, but a pipeline inside it can drop the element. Each
    # call builds the pipeline anew, which takes the longer the more it has to do: what
    # cannot fail is done outside.
    sound, is_jpeg, orientation = tf.map_fn(
        _look, image_bytes, fn_output_signature=(tf.bool, tf.bool, tf.int32)
    )
    rows = tf.where(sound)[:, 0]
    parts = (tf.gather(each, rows) for each in (image_bytes, is_jpeg, orientation))

    def prepare(row, *about):
        image = decode_known(*about, max_pixels)
        return row, *(resize(image, size) for size in sizes)

    batch = tf.maximum(tf.size(image_bytes, tf.int64), 1)
    options = untuned()
    options.experimental_optimization.apply_default_optimizations = False
    readable = (
        tf.data.Dataset.from_tensor_slices((rows, *parts))
        .map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
        .batch(batch)
        .with_options(options)
    )
    nothing = (
        tf.zeros([0], tf.int64),
        *(tf.zeros([0, size, size, 3]) for size in sizes),
    )
    rows, *images = readable.reduce(nothing, lambda _, whole: whole)
    images = tuple(
        tf.scatter_nd(rows[:, None], read, [batch, size, size, 3])
        for read, size in zip(images, sizes, strict=True)
    )
    valid = tf.scatter_nd(rows[:, None], tf.ones_like(rows), batch[None]) > 0
    return images, valid


def _look(encoded):
    """Whether an image may be decoded, whether it is a JPEG, and how it was held."""
    seen = image_header.look(encoded)
    return seen.known & seen.few, seen.is_jpeg, exif.orientation(encoded)


def serve_images(view):
    """Builds the function of `serving_images`.

    Returns:
        A function from `images` `(B, H, W, 3)` uint8 to the dict of `serve_bytes`, with
        `valid` all true.
    """

    def serve(images):
        outputs = view(tuple(resize(images, size) for size in view.sizes))
        return {**outputs, "valid": tf.ones(tf.shape(images)[:1], tf.bool)}

    return serve


def _where(valid, values):
    shape = [-1] + [1] * (len(values.shape) - 1)
    return tf.where(tf.reshape(valid, shape), values, tf.zeros_like(values))


def export(view, run, parent, warm_up=False):
    """Writes a SavedModel under the next free version number.

    A server that watches the folder never sees half a version: it is written beside
    and renamed.

    Args:
        view: A `MultiView` of trained models, or what wraps one.
        run: Its `Run`, for settings and label names.
        parent: `saved_models/<name>`; versions are its numbered folders.
        warm_up: Whether to write requests that TensorFlow Serving warms up by; needs
            the extra `serving`.

    Returns:
        The folder of the new version. Beside the SavedModel it holds
        `assets/labels.txt`, the labels in the order of the scores, and
        `assets.extra/config.json`, the settings of the run, and `views.json`, how it
        looks at images.

    Raises:
        OSError: It cannot be written; names the folder.
    """
    archive = keras.export.ExportArchive()
    for model in view.models:
        archive.track(model)
    archive.add_endpoint(
        "serving_default",
        tf.function(serve_bytes(view, run.config.data.max_pixels), autograph=False),
        [tf.TensorSpec([None], tf.string, name="image_bytes")],
    )
    archive.add_endpoint(
        "serving_images",
        tf.function(serve_images(view), autograph=False),
        [tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")],
    )
    parent = pathlib.Path(parent)
    with _beside(parent) as temporary:
        archive.write_out(str(temporary), verbose=False)
        for written in files_of_graph(temporary):
            atomic_files.add_checksum(written)
        for folder in ("assets", "assets.extra"):
            (temporary / folder).mkdir(exist_ok=True)
        texts = described(view, run)
        (temporary / "assets" / LABELS).write_text(texts.pop(LABELS), "utf-8")
        for name, text in texts.items():
            with atomic_files.write_with_checksum(
                temporary / "assets.extra" / name
            ) as file:
                file.write_text(text)
        if warm_up:
            write_warmup(temporary / "assets.extra", parent.name, view.sizes[0])
        return _rename_to_next_version(temporary, parent)


def files_of_graph(version):
    """The files that TensorFlow loads of a version: its graph and its variables."""
    return [version / "saved_model.pb", *(version / "variables").glob("variables.*")]


@contextlib.contextmanager
def _beside(parent):
    """Gives a folder to write a version to; what killed processes left is removed."""
    # TensorFlow Serving passes over folders whose names are no numbers.
    temporary = parent / f"partial-{os.getpid()}"
    own = temporary.with_suffix(".lock")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        locks.take(own)
        try:
            _remove_left(parent)
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            locks.release(own)
    except (OSError, tf.errors.OpError) as error:
        if isinstance(error, OSError) and error.errno is None:  # said already
            raise
        raise OSError(
            "The SavedModel cannot be written. Expected room and permission in "
            f"{parent}. Received: {str(error).splitlines()[0]}"
        ) from error


def _remove_left(parent):
    own = parent / f"partial-{os.getpid()}.lock"
    # A process that had our number before us has left a folder of our name.
    shutil.rmtree(own.with_suffix(""), ignore_errors=True)
    for left in {*parent.glob("partial-*.lock")} - {own}:
        # Otherwise another export may be at work on it.
        with contextlib.suppress(BlockingIOError):
            if locks.take(left):
                shutil.rmtree(left.with_suffix(""), ignore_errors=True)
                locks.release(left)


def described(view, run):
    """The files that go with a model in whatever format, name to text.

    They are `labels.txt`, the labels in the order of the scores; `config.json`, the
    settings of the run; and `views.json`, how it looks at images.
    """
    return {
        LABELS: "".join(f"{name}\n" for name in run.label_names),
        "config.json": run.config.to_json(run.label_names),
        "views.json": json.dumps(view.about, indent=2) + "\n",
    }


def _rename_to_next_version(temporary, parent):
    versions = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    version = max(versions, default=0) + 1
    while True:
        try:
            # Fails where another export has taken the number in the meantime.
            temporary.rename(parent / str(version))
            return parent / str(version)
        except OSError:
            if not (parent / str(version)).exists():
                raise
            version += 1


def write_warmup(folder, model_name, size):
    """Writes requests that TensorFlow Serving sends itself when it loads a version.

    The first call of a graph is slow, as it is optimised then; with these, one for each
    signature, no client waits for it.

    Args:
        folder: `assets.extra` of a version.
        model_name: The name that the model is served under.
        size: Edge of the grey image that is asked about, in pixels.

    Raises:
        ModuleNotFoundError: It needs the extra `serving`.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Requests to warm up by need tensorflow-serving-api. Expected: pip install "
            f'-e ".[serving]". Received: {error}'
        ) from error
    image = np.full((size, size, 3), 128, "uint8")
    encoded = tf.io.encode_jpeg(image).numpy()
    inputs = {
        "serving_default": ("image_bytes", tf.make_tensor_proto([encoded])),
        "serving_images": ("images", tf.make_tensor_proto(image[None])),
    }
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        for signature, (name, value) in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(value)
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
