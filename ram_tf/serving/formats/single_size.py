"""Models as functions of images of one size, as the formats ONNX and LiteRT hold them.

These files neither decode nor resize: the caller prepares the images with
`ram_tf.serving.formats.export.read_images`.
"""

import numpy as np
import tensorflow as tf

from ram_tf.data.images.image_faults import REFUSE
from ram_tf.serving.formats.export import read_images

# In bytes. The metadata of 10,000 labels takes one million.
LARGEST_TEXT = 8 << 20


def image_function(view, rows=None):
    """Builds the function of images that a converter takes.

    Args:
        view: A `MultiView` at one scale, or a wrapper of one.
        rows: A fixed batch size B; None for any.

    Returns:
        A `tf.function` from `images` `(B, N, N, 3)` float32 in [0, 255] to the view's
        dict, and its signature, a list of `tf.TensorSpec`.

    Raises:
        ValueError: The view has several scales.
    """
    if len(view.sizes) > 1:
        raise ValueError(
            "These formats take images of one size. Expected a view at one scale, or "
            f"--format savedmodel. Received: scales {', '.join(map(str, view.sizes))}"
        )
    (size,) = view.sizes
    signature = [tf.TensorSpec([rows, size, size, 3], tf.float32, name="images")]

    def predict(images):
        return view((images,))

    return tf.function(predict, signature, autograph=False), signature


def serve_bytes(forward, size, max_pixels, truncated=REFUSE):
    """Builds a function of encoded images, equivalent to a loaded SavedModel.

    Args:
        forward: Function from `(B, N, N, 3)` float32 images to a dict of arrays of B
            rows.
        size: N, in pixels.
        max_pixels: Images with more pixels count as unreadable.
        truncated: See `ram_tf.data.images.decoding.decode_image`.

    Returns:
        A function from a list of encoded images to the dict of
        `ram_tf.serving.formats.export.serve_bytes`, as NumPy arrays.
    """

    def read(image_bytes):
        return read_images(image_bytes, [size], [size], max_pixels, truncated)

    graph = tf.function(read, [tf.TensorSpec([None], tf.string)], autograph=False)

    def serve(encoded):
        (images,), valid = graph(tf.constant(encoded, tf.string))
        outputs = dict(forward(images.numpy()))
        outputs["valid"] = valid = valid.numpy()
        for name, values in outputs.items():
            outputs[name] = np.where(
                valid.reshape(-1, *[1] * (values.ndim - 1)), values, 0
            ).astype(values.dtype)[: len(encoded)]
        return outputs

    return serve


def unsupported_operation(error):
    """The `ValueError` for a format that lacks an operation of the model."""
    return ValueError(
        "The format lacks an operation of this model. Expected --format savedmodel, or "
        "for RARL other --locations than random. "
        f"Received: {' '.join(str(error).split())[:200]}"
    )


def unreadable(path, error):
    """The `ValueError` for a file that holds no model, or one of another program."""
    return ValueError(
        "The file holds no model that can be run. Expected one that export.py wrote. "
        f"Received: {path}, {' '.join(str(error).split())[:200]}"
    )
