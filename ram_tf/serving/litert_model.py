"""The model as LiteRT (TensorFlow Lite), for telephones and small computers.

One file of built-in operations with the input `images` `(1, N, N, 3)` float32 and the
outputs of the SavedModel but for `valid`. The files of `export.described` are
appended as a zip archive, as the format's metadata have it: `unzip` takes them out.
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

from ram_tf.serving import single_size
from ram_tf.serving.export import DESCRIBED, described
from ram_tf.storage.atomic_files import atomic_write

ENDING = ".tflite"
EXTRA = "litert"
# What zipfile says of bytes that are no archive, or one of impossible numbers.
UNFIT = (
    *(KeyError, ValueError, RuntimeError, EOFError, OSError, OverflowError),
    *(struct.error, zipfile.BadZipFile),
)


def export(view, run, path, quantize=False):
    """Writes a LiteRT file; one of that name is replaced.

    Args:
        view: A `MultiView` of trained models at one scale, or what wraps one.
        run: Its `Run`, for settings and label names.
        path: Of the file.
        quantize: Whether to keep weights in 8 bits (dynamic range): a quarter of the
            size, and scores that are not quite the same.

    Returns:
        The path.

    Raises:
        ValueError: The view looks at several scales, or at random.
    """
    path = pathlib.Path(path)
    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [_of_constants(view)], module
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        content = converter.convert()
    except ConverterError as error:
        raise single_size.unknown_operation(error) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
        with zipfile.ZipFile(temporary, "a") as appended:
            for name, text in described(view, run).items():
                appended.writestr(name, text)
    return path


def _of_constants(view):
    """The traced view with constants in place of variables.

    The converter leaves variables that a loop reads outside of the file.
    """
    graph, signature = single_size.trace(view, rows=1)
    traced = graph.get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)

    def look(images):
        # Freezing has lost the names.
        return tf.nest.pack_sequence_as(traced.structured_outputs, frozen(images))

    return tf.function(look, signature, autograph=False).get_concrete_function()


def load(path):
    """Reads a LiteRT file that `export` wrote.

    Args:
        path: Of the file.

    Returns:
        The function from `(B, N, N, 3)` float32 images to the dict of arrays, one image
        after another, and the files of `export.described`.

    Raises:
        ModuleNotFoundError: It needs the extra `litert`.
        ValueError: It is no such file.
    """
    with single_size.needing(EXTRA):
        from ai_edge_litert.interpreter import Interpreter
    texts = read_texts(path)
    try:
        interpreter = Interpreter(str(path), num_threads=os.cpu_count())
        run_one = interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        raise single_size.unreadable(path, error) from error

    alone = threading.Lock()  # an interpreter is not for several threads

    def forward(images):
        with alone:
            rows = [run_one(images=image[None]) for image in images]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return forward, texts


def read_texts(path):
    """Reads what is appended to a LiteRT file, without its model.

    Files are taken as `export` makes them, which does not compress: no text takes more
    memory than its file has bytes, and none more than `single_size.LARGEST_TEXT`.

    Returns:
        The files of `export.described`, name to text.

    Raises:
        ValueError: They are not there, or are not such.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as appended:
                return {name: _text(appended, name) for name in DESCRIBED}
        except UNFIT as error:
            raise single_size.unreadable(path, error) from error


def _text(appended, name):
    member = appended.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with appended.open(member) as file:
        # What it says of its size may not be so.
        content = file.read(single_size.LARGEST_TEXT + 1)
    if len(content) > single_size.LARGEST_TEXT:
        raise ValueError(f"{name} has more than {single_size.LARGEST_TEXT} bytes")
    return content.decode()
