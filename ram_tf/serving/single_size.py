"""A model as a function of images of one size, which other formats are made from.

They have no files to decode and nothing to resize: who runs them prepares the images,
as `ram_tf.serving.export.read_images` does.
"""

import contextlib

import numpy as np
import tensorflow as tf

from ram_tf.serving.export import read_images

# Bytes of a text in a file. Of 10,000 labels it has one million.
LARGEST_TEXT = 8 << 20


def trace(view, rows=None):
    """The function of images that a converter takes.

    Args:
        view: A `MultiView` at one scale, or what wraps one.
        rows: B where it is to be fixed, None where it is not.

    Returns:
        A `tf.function` from `images` `(B, N, N, 3)` float32 in [0, 255] to the view's
        dict, and the list of its `tf.TensorSpec`.

    Raises:
        ValueError: The view looks at several scales.
    """
    if len(view.sizes) > 1:
        raise ValueError(
            "These formats take images of one size. Expected a view at one scale, or "
            f"--format savedmodel. Received: scales {', '.join(map(str, view.sizes))}"
        )
    (size,) = view.sizes
    signature = [tf.TensorSpec([rows, size, size, 3], tf.float32, name="images")]

    def look(images):
        return view((images,))

    return tf.function(look, signature, autograph=False), signature


def serve_bytes(forward, size, max_pixels):
    """Builds what a loaded SavedModel is from a model of this kind.

    Args:
        forward: From `(B, N, N, 3)` float32 images to a dict of arrays of B rows.
        size: N.
        max_pixels: Larger images count as unreadable.

    Returns:
        A function from a list of encoded images to the dict of
        `ram_tf.serving.export.serve_bytes`, as NumPy arrays.
    """

    def read(image_bytes):
        return read_images(image_bytes, [size], max_pixels)

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


@contextlib.contextmanager
def needing(extra):
    """Around imports of a format's packages: says which extra installs them."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"This format needs the extra {extra}. Expected: pip install "
            f'-e ".[{extra}]". Received: {error}'
        ) from error


def unknown_operation(error):
    """The error of a format that lacks an operation of the model."""
    return ValueError(
        "The format lacks an operation of this model. Expected --format savedmodel, or "
        "for RARL other --locations than random. "
        f"Received: {' '.join(str(error).split())[:200]}"
    )


def unreadable(path, error):
    """The error of a file that holds no model, or not one of ours."""
    return ValueError(
        "The file holds no model that can be run. Expected one that export.py wrote. "
        f"Received: {path}, {' '.join(str(error).split())[:200]}"
    )
