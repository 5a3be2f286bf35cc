"""The model as ONNX, for ONNX Runtime and whatever else reads that format.

One file with the input `images` `(B, N, N, 3)` float32, the outputs of the SavedModel
but for `valid`, and in its metadata the files of `ram_tf.serving.export.described`.
"""

import pathlib

from ram_tf.serving import single_size
from ram_tf.serving.export import described
from ram_tf.storage.atomic_files import atomic_write

ENDING = ".onnx"
EXTRA = "onnx"
OPSET = 17


def export(view, run, path):
    """Writes an ONNX file; one of that name is replaced.

    Args:
        view: A `MultiView` of trained models at one scale, or what wraps one.
        run: Its `Run`, for settings and label names.
        path: Of the file.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: It needs the extra `onnx`.
        ValueError: The view looks at several scales, or at random.
    """
    with single_size.needing(EXTRA):
        import onnx
        import tf2onnx
    path = pathlib.Path(path)
    graph, signature = single_size.trace(view)
    model, _ = tf2onnx.convert.from_function(graph, signature, opset=OPSET)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "B"
    onnx.helper.set_model_props(model, described(view, run))
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise single_size.unknown_operation(error) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)
    return path


def load(path):
    """Reads an ONNX file that `export` wrote.

    Args:
        path: Of the file.

    Returns:
        The function from `(B, N, N, 3)` float32 images to the dict of arrays, and the
        files of `ram_tf.serving.export.described`.

    Raises:
        ModuleNotFoundError: It needs the extra `onnx`.
        ValueError: It is no such file.
    """
    with single_size.needing(EXTRA):
        import onnxruntime
    try:
        session = onnxruntime.InferenceSession(
            pathlib.Path(path).read_bytes(), providers=["CPUExecutionProvider"]
        )
        texts = session.get_modelmeta().custom_metadata_map
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise single_size.unreadable(path, error) from error
    names = [output.name for output in session.get_outputs()]

    def forward(images):
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    return forward, texts
