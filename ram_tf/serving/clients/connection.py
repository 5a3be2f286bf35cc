"""Asks a server for predictions, by TensorFlow Serving's two protocols.

A client is what a loaded SavedModel is: encoded images in, the dict of
`export.serve_bytes` out. What goes wrong on the way is said in one sentence.
"""

import urllib.parse

from ram_tf.serving.clients.grpc_client import GrpcClient
from ram_tf.serving.clients.responses import LARGEST, RETRIES, TIMEOUT, TooLargeError
from ram_tf.serving.clients.rest_client import RestClient


def connect(url, timeout=TIMEOUT, retries=RETRIES, largest=LARGEST):
    """Makes the client that a URL asks for; nothing is sent yet.

    Args:
        url: `http(s)://HOST:PORT/v1/models/NAME[/versions/N]:predict` for REST, or
            `grpc://HOST:PORT/NAME[/N]`, where the name defaults to "default".
        timeout: Seconds to wait for an answer, all tries together.
        retries: How often to ask again, after longer and longer waits, where the server
            cannot be reached or is busy.
        largest: Megabytes of images in a request, which is not sent beyond them.

    Returns:
        A `RestClient` or a `GrpcClient`.

    Raises:
        ValueError: The URL is neither, or a number is out of range.
        ModuleNotFoundError: gRPC needs the extra `serving`.
    """
    if not (timeout > 0 and retries >= 0 and largest > 0):
        raise ValueError(
            "The server is asked in a way that cannot be. Expected a timeout above 0 "
            "seconds, 0 or more retries and requests above 0 megabytes. "
            f"Received: {timeout}, {retries} and {largest}"
        )
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("http", "https") and parts.path.endswith(":predict"):
        return RestClient(url, timeout, retries, largest)
    if parts.scheme == "grpc" and parts.netloc:
        name, _, version = parts.path.strip("/").partition("/")
        if not version or version.isdecimal():
            name, version = name or "default", int(version) if version else None
            return GrpcClient(parts.netloc, name, version, timeout, retries, largest)
    raise ValueError(
        "This is no address of a model. Expected "
        "http://HOST:8501/v1/models/NAME:predict or grpc://HOST:8500/NAME. "
        f"Received: {url}"
    )


def add_arguments(parser):
    """Adds the flags of `from_arguments`."""
    parser.add_argument(
        "--url",
        help="ask a server, http://HOST:8501/v1/models/NAME:predict (REST) or "
        "grpc://HOST:8500/NAME; --model_dir is then the version folder that it serves, "
        "for labels and thresholds",
    )
    parser.add_argument(
        "--at_once", type=int, default=1, help="requests to it at a time; %(default)s"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        help="seconds to wait for its answer, all tries together; %(default)s",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=RETRIES,
        help="times to ask again where it is busy or cannot be reached; %(default)s",
    )
    parser.add_argument(
        "--largest",
        type=float,
        default=LARGEST,
        metavar="MEGABYTES",
        help="of images in a request; more are asked about in parts; %(default)s",
    )


def from_arguments(arguments):
    """The client that parsed flags ask for, None without `--url`."""
    if not arguments.url:
        return None
    return connect(
        arguments.url, arguments.timeout, arguments.retries, arguments.largest
    )


def in_parts(ask, encoded):
    """Asks about images, in halves again and again while a request is too large.

    Args:
        ask: A client, or another function from encoded images to a dict of arrays.
        encoded: A list of `bytes`, an image each.

    Returns:
        A list with the dict of each image by itself; in its place a `TooLargeError`
        where one image alone was too large.
    """
    try:
        outputs = ask(encoded)
    except TooLargeError as error:
        if len(encoded) == 1:
            return [error]
        middle = len(encoded) // 2
        return [*in_parts(ask, encoded[:middle]), *in_parts(ask, encoded[middle:])]
    return [
        {name: values[i] for name, values in outputs.items()}
        for i in range(len(encoded))
    ]
