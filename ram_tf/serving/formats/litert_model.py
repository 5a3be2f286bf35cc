"""Export to LiteRT (TensorFlow Lite), for phones and small computers.

The file uses built-in operations only. It has the input `images` `(1, N, N, 3)` float32
and the outputs of the SavedModel except `valid`. The texts of `export.metadata` and its
card are appended as a zip archive, as in TensorFlow Lite's metadata: `unzip` extracts
them.
"""

import os
import pathlib
import struct
import threading
import zipfile

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from ram_tf.serving import extras
from ram_tf.serving.formats import model_card, single_size
from ram_tf.serving.formats.export import METADATA, metadata
from ram_tf.storage.atomic_files import atomic_write

ENDING = ".tflite"
EXTRA = "litert"
# Raised by zipfile for bytes that are no archive, or one with impossible numbers.
ARCHIVE_ERRORS = (
    *(KeyError, ValueError, RuntimeError, EOFError, OSError, OverflowError),
    *(struct.error, zipfile.BadZipFile),
)


def export(view, run, path, quantize=False, licence=None):
    """Writes a LiteRT file, and replaces an existing one.

    Args:
        view: A `MultiView` of trained models at one scale, or a wrapper of one.
        run: Its `Run`, for settings and label names.
        path: Path of the file.
        quantize: Whether to store weights in 8 bits (dynamic range): a quarter of the
            size, and slightly different scores.
        licence: See `ram_tf.serving.formats.export.export`.

    Returns:
        The path.

    Raises:
        ValueError: The view has several scales, or an operation that LiteRT lacks.
    """
    path = pathlib.Path(path)
    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_freeze(view)], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        content = converter.convert()
    except ConverterError as error:
        raise single_size.unsupported_operation(error) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
        card = model_card.Card(path.stem, path.name, licence).text(run, view.about)
        texts = {**metadata(view, run), model_card.FILE: card}
        with zipfile.ZipFile(temporary, "a") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
    return path


def _freeze(view):
    """Traces the view with constants in place of variables.

    The converter does not write variables that a loop reads from outside.
    """
    graph, signature = single_size.image_function(view, rows=1)
    traced = graph.get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)

    def predict(images):
        # Freezing loses the names of the outputs.
        return tf.nest.pack_sequence_as(traced.structured_outputs, frozen(images))

    return tf.function(predict, signature, autograph=False).get_concrete_function()


def load(path):
    """Reads a LiteRT file that `export` wrote.

    Args:
        path: Path of the file.

    Returns:
        The function from `(B, N, N, 3)` float32 images to the dict of arrays, which
        processes one image after another, and the texts of `export.metadata`.

    Raises:
        ModuleNotFoundError: The extra `litert` is missing.
        ValueError: The file is not a LiteRT model of `export`.
    """
    with extras.required(EXTRA, "The LiteRT format"):
        from ai_edge_litert.interpreter import Interpreter
    texts = read_texts(path)
    try:
        interpreter = Interpreter(str(path), num_threads=os.cpu_count())
        run_one = interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        raise single_size.unreadable(path, error) from error

    lock = threading.Lock()  # an interpreter is not thread-safe

    def forward(images):
        with lock:
            rows = [run_one(images=image[None]) for image in images]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return forward, texts


def read_texts(path):
    """Reads the metadata of a LiteRT file, without its model.

    Compressed texts are refused, as `export` writes none: so no text takes more memory
    than the file has bytes, and none more than `single_size.LARGEST_TEXT`.

    Returns:
        The texts of `export.metadata`, name to text.

    Raises:
        ValueError: A text is missing, compressed, too large or not UTF-8.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return {name: _read_text(archive, name) for name in METADATA}
        except ARCHIVE_ERRORS as error:
            raise single_size.unreadable(path, error) from error


def _read_text(archive, name):
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(member) as file:
        # The size in the archive's directory may be wrong.
        content = file.read(single_size.LARGEST_TEXT + 1)
    if len(content) > single_size.LARGEST_TEXT:
        raise ValueError(f"{name} has more than {single_size.LARGEST_TEXT} bytes")
    return content.decode()
