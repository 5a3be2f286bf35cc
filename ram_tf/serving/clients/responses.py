"""What holds for a server's answers, and for what it is asked, over either protocol.

`rest_client` and `grpc_client` ask; the limits of a request, the form of an answer and
the sentences about what goes wrong are here, since they are the same for both.
"""

import numpy as np

OUTPUTS = ("scores", "probabilities", "regions", "boxes", "region_scores", "valid")
TIMEOUT = 60.0  # seconds
RETRIES = 4
MEGABYTE = 2**20
LARGEST = 64  # megabytes of images in a request
BACKOFF = 0.5  # seconds before the second try, twice as long before each further one
DOUBLED = 4  # times at most
# Bytes. Of a thousand labels on 45 regions an image takes one million.
LARGEST_ANSWER = 32 << 20


class TooLargeError(ValueError):
    """A request is larger than the client or the server allows."""


def check_request(encoded, largest):
    """Holds a request to one or more images of so many megabytes together.

    Args:
        encoded: A list of `bytes`, an image each.
        largest: Megabytes.

    Raises:
        ValueError: There is no image.
        TooLargeError: There are more megabytes.
    """
    if not encoded:
        raise ValueError(
            "There is nothing to ask about. Expected one or more encoded images. "
            "Received: none"
        )
    if sum(map(len, encoded)) > largest * MEGABYTE:
        raise _too_large(encoded, f"at most {largest:g} MB of images")


def check_shapes(shapes, count, url):
    """Holds shapes to those of `export.serve_bytes`.

    Args:
        shapes: A dict from each of the `OUTPUTS` to a tuple.
        count: The images that were asked about.
        url: Named where the shapes are others.

    Raises:
        ValueError: They are others.
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
        raise refused(url, f"arrays of the shapes {shapes} for {count} images")


def checked_outputs(outputs, count, url):
    """Holds what came to the shapes of `export.serve_bytes`, in its types.

    Args:
        outputs: A dict from each of the `OUTPUTS` to an array.
        count: The images that were asked about.
        url: Named where it is no prediction.

    Returns:
        The dict, as float32 and bool.

    Raises:
        ValueError: It is no prediction.
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
            raise refused(url, f"{name} that are not all numbers")
    return checked


def too_large_for(url, encoded, reason):
    """The `TooLargeError` of a request that a server refuses for a reason it gives."""
    return _too_large(encoded, f"one that {url} takes, which says {reason!r}")


def unreachable(url, error):
    """The `ConnectionError` of a server that does not answer."""
    return ConnectionError(
        "The server does not answer. Expected TensorFlow Serving, or what speaks its "
        f"protocol, at {url}. Received: {error}"
    )


def refused(url, received):
    """The `ValueError` of an answer that is no prediction."""
    return ValueError(
        f"The server's answer is no prediction. Expected {', '.join(OUTPUTS)} for each "
        f"image from {url}. Received: {received}"
    )


def _too_large(encoded, expected):
    size = sum(map(len, encoded)) / MEGABYTE
    return TooLargeError(
        f"The request is too large. Expected {expected}. Received: {size:.4g} MB"
    )
