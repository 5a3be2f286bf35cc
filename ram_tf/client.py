"""Asks a server for predictions, by TensorFlow Serving's two protocols.

A client is what a loaded SavedModel is: encoded images in, the dict of
`ram_tf.export.serve_bytes` out. What goes wrong on the way is said in one sentence.
"""

import base64
import concurrent.futures
import json
import math
import threading
import time
import urllib.parse
from http import HTTPStatus

import numpy as np
import requests
import tensorflow as tf
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

OUTPUTS = ("scores", "probabilities", "regions", "boxes", "region_scores", "valid")
TIMEOUT = 60.0  # seconds
RETRIES = 4
MEGABYTE = 2**20
LARGEST = 64  # megabytes of images in a request
BACKOFF = 0.5  # seconds before the second try, twice as long before each further one
DOUBLED = 4  # times at most
# Too many requests, and what stands between us and the server.
TRY_AGAIN = (429, 502, 503, 504)
CONNECTIONS = 64  # kept open between requests
# Bytes. Of a thousand labels on 45 regions an image takes one million.
LARGEST_ANSWER = 32 << 20
# Values in JSON take many times the memory of their text. With the digits of float32 as
# many bytes hold 3 million numbers, and so many lists are 45 regions of 4,000 images.
NUMBERS, LISTS = 6 << 20, 1 << 20
PART = 1 << 16  # bytes at a time
# What NumPy and Python say of JSON that holds something else than was asked for.
UNFIT = (ValueError, TypeError, LookupError, OverflowError, RecursionError)
# Where a tensor's message has its values, if not as bytes, and how many bytes each.
KINDS = {
    tf.float32.as_datatype_enum: ("float_val", 4),
    tf.bool.as_datatype_enum: ("bool_val", 1),
}
AXES = 5  # of a shape that are looked at: more than any has


class TooLargeError(ValueError):
    """A request is larger than the client or the server allows."""


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


class RestClient:
    """Asks over HTTP with JSON. It may be called from several threads.

    Args:
        url: See `connect`.
        timeout: See `connect`.
        retries: See `connect`.
        largest: See `connect`.

    Call arguments:
        encoded: A list of one or more `bytes`, an image each.

    Returns:
        The dict of `ram_tf.export.serve_bytes`, as NumPy arrays.

    Raises:
        ConnectionError: When called, if the server does not answer.
        TooLargeError: When called, if a request is larger than here or there allowed.
        ValueError: When called, if there is no image or the answer is no prediction.
    """

    def __init__(self, url, timeout=TIMEOUT, retries=RETRIES, largest=LARGEST):
        self.url, self.timeout, self.largest = url, timeout, largest
        self.retries = retries
        self.session = requests.Session()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))

    def __call__(self, encoded):
        _check_request(encoded, self.largest)
        instances = [{"b64": base64.b64encode(each).decode()} for each in encoded]
        body = json.dumps({"instances": instances}).encode()
        deadline = time.monotonic() + self.timeout
        try:
            # A socket's timeout begins anew with each byte of the headers.
            answer, content = _within(self.timeout, self._ask, body, deadline)
        except TimeoutError as error:
            late = f"no end within {self.timeout} seconds"
            raise _unreachable(self.url, late) from error
        except (requests.RequestException, HTTPError) as error:
            raise _unreachable(self.url, error) from error
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise _too_large(encoded, _takes(self.url, _reason(content)))
        if answer.status_code != HTTPStatus.OK:
            reason = _reason(content) or answer.reason
            raise _refused(self.url, f"status {answer.status_code}, {reason}")
        try:
            rows = _loaded(content)["predictions"]
            outputs = {name: _of_json([r[name] for r in rows]) for name in OUTPUTS}
        except UNFIT as error:
            raise _refused(self.url, repr(bytes(content[:200]))) from error
        return _checked(outputs, len(encoded), self.url)

    def _ask(self, body, deadline):
        """Asks until there is an answer, and returns it with its content."""
        tried = 0
        while True:
            tried += 1
            wait = BACKOFF * 2 ** min(tried - 1, DOUBLED)
            try:
                with self._post(body, deadline) as answer:
                    again = answer.status_code in TRY_AGAIN
                    if again:
                        wait = max(wait, Retry().get_retry_after(answer.raw) or 0)
                    if not (again and self._may_wait(tried, wait, deadline)):
                        return answer, self._content(answer, deadline)
            except (requests.ConnectionError, requests.Timeout):
                if not self._may_wait(tried, wait, deadline):
                    raise
            time.sleep(wait)

    def _post(self, body, deadline):
        return self.session.post(
            self.url,
            data=body,
            headers={
                "Content-Type": "application/json",
                # Compressed answers may be of any size.
                "Accept-Encoding": "identity",
            },
            timeout=_left(deadline),
            # Images go to the server that was named.
            allow_redirects=False,
            stream=True,
        )

    def _may_wait(self, tried, wait, deadline):
        return tried <= self.retries and time.monotonic() + wait < deadline

    def _content(self, answer, deadline):
        """The body as it came, within `LARGEST_ANSWER` and the timeout."""
        content = bytearray()
        while part := answer.raw.read1(PART, decode_content=False):
            content += part
            if len(content) > LARGEST_ANSWER:
                raise _refused(self.url, f"more than {LARGEST_ANSWER} bytes")
            _left(deadline)
        return content


class GrpcClient:
    """Asks over gRPC with protocol buffers. It may be called from several threads.

    Args:
        target: HOST:PORT.
        name: Of the model.
        version: Of the model; None for the newest.
        timeout: See `connect`.
        retries: See `connect`; gRPC itself allows 4 at most.
        largest: See `connect`.

    Call arguments:
        encoded: A list of one or more `bytes`, an image each.

    Returns:
        The dict of `ram_tf.export.serve_bytes`, as NumPy arrays.

    Raises:
        ModuleNotFoundError: On construction, without the extra `serving`.
        ConnectionError: When called, if the server does not answer.
        TooLargeError: When called, if a request is larger than here or there allowed.
        ValueError: When called, if there is no image or the answer is no prediction.
    """

    def __init__(
        self,
        target,
        name,
        version=None,
        timeout=TIMEOUT,
        retries=RETRIES,
        largest=LARGEST,
    ):
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "gRPC needs tensorflow-serving-api. Expected: pip install "
                f'-e ".[serving]". Received: {error}'
            ) from error
        self.grpc, self.messages = grpc, predict_pb2
        self.url = f"grpc://{target}/{name}"
        self.name, self.version = name, version
        self.timeout, self.largest = timeout, largest
        channel = grpc.insecure_channel(target, _channel_options(retries))
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def __call__(self, encoded):
        _check_request(encoded, self.largest)
        request = self.messages.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = "serving_default"
        if self.version is not None:
            request.model_spec.version.value = self.version
        images = tf.make_tensor_proto(np.array(encoded, object), tf.string)
        request.inputs["image_bytes"].CopyFrom(images)
        try:
            answer = self.stub.Predict(request, self.timeout)
        except self.grpc.RpcError as error:
            code, lost = error.code(), self.grpc.StatusCode
            if code in (lost.UNAVAILABLE, lost.DEADLINE_EXCEEDED):
                raise _unreachable(self.url, error.details()) from error
            if code == lost.RESOURCE_EXHAUSTED and "larger than max" in error.details():
                takes = _takes(self.url, error.details())
                raise _too_large(encoded, takes) from error
            refusal = f"{code.name}, {error.details()}"
            raise _refused(self.url, refusal) from error
        return outputs_of(answer, len(encoded), self.url)


def outputs_of(answer, count, url):
    """Reads a `PredictResponse`.

    Args:
        answer: What has come, or another message with `outputs`.
        count: The images that were asked about.
        url: Named where it is no prediction.

    Returns:
        The dict of `ram_tf.export.serve_bytes`, as NumPy arrays.

    Raises:
        ValueError: It is no prediction.
    """
    missing = [name for name in OUTPUTS if name not in answer.outputs]
    if missing:
        raise _refused(url, f"an answer without {', '.join(missing)}")
    tensors = {name: answer.outputs[name] for name in OUTPUTS}
    # A tensor of one value may claim any shape: none is made before all fit.
    _check_shapes({name: _shape(t) for name, t in tensors.items()}, count, url)
    try:
        outputs = {name: _array(tensor) for name, tensor in tensors.items()}
    except (ValueError, TypeError) as error:
        raise _refused(url, error) from error
    return _checked(outputs, count, url)


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


def _within(seconds, function, *arguments):
    """What a function returns or raises; after so many seconds a `TimeoutError`.

    A function that is late goes on in its thread, which the program's end ends.
    """
    outcome = concurrent.futures.Future()

    def run():
        try:
            outcome.set_result(function(*arguments))
        except BaseException as error:  # the caller's to handle
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _left(deadline):
    """Seconds until a moment, or a `TimeoutError`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _channel_options(retries):
    # How large a message may be is the server's to say.
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", LARGEST_ANSWER),
        ("grpc.enable_retries", int(retries > 0)),
    ]
    if retries:
        policy = {
            "maxAttempts": min(retries, 4) + 1,
            "initialBackoff": f"{BACKOFF}s",
            "maxBackoff": f"{BACKOFF * 2**DOUBLED}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        service = [{"service": "tensorflow.serving.PredictionService"}]
        config = {"methodConfig": [{"name": service, "retryPolicy": policy}]}
        options.append(("grpc.service_config", json.dumps(config)))
    return options


def _check_request(encoded, largest):
    if not encoded:
        raise ValueError(
            "There is nothing to ask about. Expected one or more encoded images. "
            "Received: none"
        )
    if sum(map(len, encoded)) > largest * MEGABYTE:
        raise _too_large(encoded, f"at most {largest:g} MB of images")


def _reason(content):
    """What the body of an HTTP answer says went wrong, on one line."""
    try:
        text = str(json.loads(content[:PART])["error"])
    except (ValueError, TypeError, LookupError, RecursionError):
        text = content[:1000].decode(errors="replace")
    return " ".join(text.split())[:200]


def _loaded(content):
    """The JSON of an answer that has no more values than a right one may have."""
    lists = sum(map(content.count, (b"[", b"{", b'"')))
    if content.count(b",") > NUMBERS or lists > LISTS:
        raise ValueError("too many values")
    return json.loads(content.decode("ascii"))


def _of_json(values):
    """The array of nested lists that hold nothing but numbers, or but flags."""
    # NumPy would give each text the room of the longest.
    array = np.asarray(values, object)
    kinds = {*map(type, array.flat)}
    if not (kinds <= {int, float} or kinds == {bool}):
        raise TypeError("neither numbers nor flags")
    with np.errstate(over="ignore"):
        return array.astype(bool if kinds == {bool} else np.float32)


def _shape(tensor):
    dimensions = tensor.tensor_shape.dim
    return tuple(each.size for each in dimensions[:AXES])


def _array(tensor):
    """The array of a tensor's message, which holds as many values as it claims."""
    size = math.prod(each.size for each in tensor.tensor_shape.dim)
    if tensor.dtype not in KINDS:
        raise ValueError(f"a tensor of the kind {tensor.dtype}")
    values, width = KINDS[tensor.dtype]
    carried = len(tensor.tensor_content) / width or len(getattr(tensor, values))
    if carried != size:
        raise ValueError(f"a tensor of {size} elements with {carried:g} values")
    return tf.make_ndarray(tensor)


def _check_shapes(shapes, count, url):
    """Holds shapes to those of `ram_tf.export.serve_bytes`."""
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
        raise _refused(url, f"arrays of the shapes {shapes} for {count} images")


def _checked(outputs, count, url):
    """Holds what came to the shapes of `ram_tf.export.serve_bytes`, in its types."""
    shapes = {name: values.shape for name, values in outputs.items()}
    _check_shapes(shapes, count, url)
    checked = {}
    for name, values in outputs.items():
        kinds, dtype = ("b", bool) if name == "valid" else ("fiu", np.float32)
        fits = values.dtype.kind in kinds
        if fits:
            with np.errstate(over="ignore"):
                checked[name] = values.astype(dtype, copy=False)
            fits = np.isfinite(checked[name]).all()
        if not fits:
            raise _refused(url, f"{name} that are not all numbers")
    return checked


def _too_large(encoded, expected):
    size = sum(map(len, encoded)) / MEGABYTE
    return TooLargeError(
        f"The request is too large. Expected {expected}. Received: {size:.4g} MB"
    )


def _takes(url, reason):
    return f"one that {url} takes, which says {reason!r}"


def _unreachable(url, error):
    return ConnectionError(
        "The server does not answer. Expected TensorFlow Serving, or what speaks its "
        f"protocol, at {url}. Received: {error}"
    )


def _refused(url, received):
    return ValueError(
        f"The server's answer is no prediction. Expected {', '.join(OUTPUTS)} for each "
        f"image from {url}. Received: {received}"
    )
