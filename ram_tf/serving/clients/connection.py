"""Connects to a server that predicts, over either protocol of TensorFlow Serving.

A client is called like a loaded SavedModel: it takes encoded images and returns the
dict of `export.serve_bytes`. Every failure becomes an error of one sentence.
"""

import urllib.parse

from ram_tf.serving.clients.limits import LARGEST, RETRIES, TIMEOUT


def connect(url, timeout=TIMEOUT, retries=RETRIES, largest=LARGEST):
    """Makes the client for a URL, without sending anything.

    Args:
        url: `http(s)://HOST:PORT/v1/models/NAME[/versions/N]:predict` for REST, or
            `grpc://HOST:PORT/NAME[/N]`, where the name defaults to "default".
        timeout: Seconds to wait for a response, all retries together.
        retries: Number of retries, after longer and longer waits, if the server cannot
            be reached or is busy.
        largest: Largest request, in megabytes of images; larger ones are not sent.

    Returns:
        A `RestClient` or a `GrpcClient`.

    Raises:
        ValueError: The URL is neither, or a number is out of range.
        ModuleNotFoundError: The extra `serving`, which gRPC needs, is missing.
    """
    if not (timeout > 0 and retries >= 0 and largest > 0):
        raise ValueError(
            "The limits of requests are out of range. Expected --timeout above 0 "
            "seconds, --retries of 0 or more and --largest above 0 megabytes. "
            f"Received: {timeout}, {retries} and {largest}"
        )
    # The clients are imported when they are used: they need TensorFlow and more.
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("http", "https") and parts.path.endswith(":predict"):
        from ram_tf.serving.clients.rest_client import RestClient

        return RestClient(url, timeout, retries, largest)
    if parts.scheme == "grpc" and parts.netloc:
        from ram_tf.serving.clients.grpc_client import GrpcClient

        name, _, version = parts.path.strip("/").partition("/")
        if not version or version.isdecimal():
            name, version = name or "default", int(version) if version else None
            return GrpcClient(parts.netloc, name, version, timeout, retries, largest)
    raise ValueError(
        "The URL does not name a model. Expected "
        "http://HOST:8501/v1/models/NAME:predict or grpc://HOST:8500/NAME. "
        f"Received: {url}"
    )


def add_arguments(parser):
    """Adds the flags of `from_arguments`."""
    parser.add_argument(
        "--url",
        help="URL of a server, http://HOST:8501/v1/models/NAME:predict (REST) or "
        "grpc://HOST:8500/NAME; --model_dir is then the version folder that it serves, "
        "for labels and thresholds",
    )
    parser.add_argument(
        "--at_once", type=int, default=1, help="parallel requests; %(default)s"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        help="seconds to wait for a response, all retries together; %(default)s",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=RETRIES,
        help="retries if the server is busy or cannot be reached; %(default)s",
    )
    parser.add_argument(
        "--largest",
        type=float,
        default=LARGEST,
        metavar="MEGABYTES",
        help="size of a request's images; larger ones are divided; %(default)s",
    )


def from_arguments(arguments):
    """Makes the client for parsed flags; None without `--url`."""
    if not arguments.url:
        return None
    return connect(
        arguments.url, arguments.timeout, arguments.retries, arguments.largest
    )


def predict_in_parts(client, encoded):
    """Predicts for images, and halves each request that is too large.

    Args:
        client: A client, or another function from encoded images to a dict of arrays.
        encoded: A list of `bytes`, an image each.

    Returns:
        A list with the dict of each image; or, if one image alone was too large, its
        `TooLargeError`.
    """
    from ram_tf.serving.clients.responses import TooLargeError

    try:
        outputs = client(encoded)
    except TooLargeError as error:
        if len(encoded) == 1:
            return [error]
        middle = len(encoded) // 2
        halves = encoded[:middle], encoded[middle:]
        return [each for half in halves for each in predict_in_parts(client, half)]
    return [
        {name: values[i] for name, values in outputs.items()}
        for i in range(len(encoded))
    ]
