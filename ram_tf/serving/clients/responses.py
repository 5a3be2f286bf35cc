"""Checks and errors that the clients of both protocols share.

They limit the size of a request, check the shapes and types of a response, and make the
errors of `rest_client` and `grpc_client`.
"""

import numpy as np

OUTPUTS = ("scores", "probabilities", "regions", "boxes", "region_scores", "valid")
MEGABYTE = 2**20
BACKOFF = 0.5  # seconds before the first retry, doubled for each further one
MAX_DOUBLINGS = 4
# In bytes. An image takes one million with a thousand labels on 45 regions.
LARGEST_RESPONSE = 32 << 20


class TooLargeError(ValueError):
    """A request is larger than the client or the server allows."""


def check_request(encoded, largest):
    """Checks that a request has one or more images, and their total size.

    Args:
        encoded: A list of `bytes`, an image each.
        largest: Largest total size, in megabytes.

    Raises:
        ValueError: There is no image.
        TooLargeError: The images are larger.
    """
    if not encoded:
        raise ValueError(
            "The request is empty. Expected one or more encoded images. Received: none"
        )
    if sum(map(len, encoded)) > largest * MEGABYTE:
        raise _too_large(encoded, f"at most {largest:g} MB of images (--largest)")


def check_shapes(shapes, count, url):
    """Checks that shapes are those of `export.serve_bytes`.

    Args:
        shapes: A dict from each of the `OUTPUTS` to a tuple.
        count: Number of images in the request.
        url: URL of the model, for error messages.

    Raises:
        ValueError: The shapes differ.
    """
    rows = shapes["region_scores"]
    regions, labels = rows[1:] if len(rows) == 3 else (-1, -1)
    expected = {
        "scores": (count, labels),
        "probabilities": (count, labels),
        "regions": (count, regions, 2, 3),
        "boxes": (count, regions, 4),
        "region_scores": (count, regions, labels),
        "valid": (count,),
    }
    if shapes != expected:
        raise not_a_prediction(url, f"arrays of the shapes {shapes} for {count} images")


def checked_outputs(outputs, count, url):
    """Checks the shapes and values of a response, and converts their types.

    Args:
        outputs: A dict from each of the `OUTPUTS` to an array.
        count: Number of images in the request.
        url: URL of the model, for error messages.

    Returns:
        The dict, as float32 and bool.

    Raises:
        ValueError: The outputs are not a prediction.
    """
    shapes = {name: values.shape for name, values in outputs.items()}
    check_shapes(shapes, count, url)
    checked = {}
    for name, values in outputs.items():
        kinds, dtype = ("b", bool) if name == "valid" else ("fiu", np.float32)
        fits = values.dtype.kind in kinds
        if fits:
            with np.errstate(over="ignore"):
                checked[name] = values.astype(dtype, copy=False)
            fits = np.isfinite(checked[name]).all()
        if not fits:
            raise not_a_prediction(url, f"{name} of another type or not finite")
    return checked


def too_large_for_server(url, encoded, reason):
    """The `TooLargeError` for a request that a server refuses, with its reason."""
    return _too_large(encoded, f"a size that {url} accepts, which replied {reason!r}")


def unreachable(url, error):
    """The `ConnectionError` for a server that does not answer."""
    return ConnectionError(
        "The server does not answer. Expected TensorFlow Serving, or a server with its "
        f"protocol, at {url}. Received: {error}"
    )


def not_a_prediction(url, received):
    """The `ValueError` for a response that is not a prediction."""
    return ValueError(
        "The server's response is not a prediction. Expected "
        f"{', '.join(OUTPUTS)} for each image from {url}. Received: {received}"
    )


def _too_large(encoded, expected):
    size = sum(map(len, encoded)) / MEGABYTE
    return TooLargeError(
        f"The request is too large. Expected {expected}. Received: {size:.4g} MB"
    )
