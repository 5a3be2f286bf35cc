"""Export to ONNX, for ONNX Runtime and other programs that read the format.

The file has the input `images` `(B, N, N, 3)` float32 and the outputs of the SavedModel
except `valid`. Its metadata holds its card and the texts of
`ram_tf.serving.formats.export.metadata`.
"""

import pathlib

from ram_tf.serving import extras
from ram_tf.serving.formats import model_card, single_size
from ram_tf.serving.formats.export import metadata
from ram_tf.storage.atomic_files import atomic_write

ENDING = ".onnx"
EXTRA = "onnx"
FEATURE = "The ONNX format"
OPSET = 17


def export(view, run, path, licence=None):
    """Writes an ONNX file, and replaces an existing one.

    Args:
        view: A `MultiView` of trained models at one scale, or a wrapper of one.
        run: Its `Run`, for settings and label names.
        path: Path of the file.
        licence: See `ram_tf.serving.formats.export.export`.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: The extra `onnx` is missing.
        ValueError: The view has several scales, or an operation that ONNX lacks.
    """
    with extras.required(EXTRA, FEATURE):
        import onnx
        import tf2onnx
    path = pathlib.Path(path)
    graph, signature = single_size.image_function(view)
    model, _ = tf2onnx.convert.from_function(graph, signature, opset=OPSET)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "B"
    card = model_card.Card(path.stem, path.name, licence).text(run, view.about)
    texts = {**metadata(view, run), model_card.FILE: card}
    onnx.helper.set_model_props(model, texts)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise single_size.unsupported_operation(error) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)
    return path


def load(path):
    """Reads an ONNX file that `export` wrote.

    Args:
        path: Path of the file.

    Returns:
        The function from `(B, N, N, 3)` float32 images to the dict of arrays, and the
        texts of `ram_tf.serving.formats.export.metadata`.

    Raises:
        ModuleNotFoundError: The extra `onnx` is missing.
        ValueError: The file is not an ONNX model.
    """
    with extras.required(EXTRA, FEATURE):
        import onnxruntime
    try:
        session = onnxruntime.InferenceSession(
            pathlib.Path(path).read_bytes(), providers=["CPUExecutionProvider"]
        )
        texts = session.get_modelmeta().custom_metadata_map
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise single_size.unreadable(path, error) from error
    names = [output.name for output in session.get_outputs()]

    def forward(images):
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    return forward, texts
