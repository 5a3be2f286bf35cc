"""Client of a server over gRPC, the second protocol of TensorFlow Serving."""

import json
import math

import numpy as np
import tensorflow as tf

from ram_tf.serving import extras
from ram_tf.serving.clients.limits import LARGEST, RETRIES, TIMEOUT
from ram_tf.serving.clients.responses import (
    BACKOFF,
    LARGEST_RESPONSE,
    MAX_DOUBLINGS,
    OUTPUTS,
    check_request,
    check_shapes,
    checked_outputs,
    not_a_prediction,
    too_large_for_server,
    unreachable,
)

# The field of a tensor's message that holds its values unless they are sent as bytes,
# and the bytes of each value.
VALUE_FIELDS = {
    tf.float32.as_datatype_enum: ("float_val", 4),
    tf.bool.as_datatype_enum: ("bool_val", 1),
}
MAX_AXES = 5  # more than any output has; a shape is read no further


class GrpcClient:
    """Predicts over gRPC with protocol buffers; thread-safe.

    Args:
        target: HOST:PORT.
        name: Name of the model.
        version: Version of the model; None for the newest.
        timeout: See `connection.connect`.
        retries: See `connection.connect`; gRPC allows 4.
        largest: See `connection.connect`.

    Call arguments:
        encoded: A list of one or more `bytes`, an image each.

    Returns:
        The dict of `ram_tf.serving.formats.export.serve_bytes`, as NumPy arrays.

    Raises:
        ModuleNotFoundError: On construction, without the extra `serving`.
        ConnectionError: When called, if the server does not answer.
        TooLargeError: When called, if the client or the server refuses the size.
        ValueError: When called, without an image or if the response is no prediction.
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
        with extras.required("serving", "gRPC"):
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        self.grpc, self.messages = grpc, predict_pb2
        self.url = f"grpc://{target}/{name}"
        self.name, self.version = name, version
        self.timeout, self.largest = timeout, largest
        channel = grpc.insecure_channel(target, _channel_options(retries))
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def __call__(self, encoded):
        check_request(encoded, self.largest)
        request = self.messages.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = "serving_default"
        if self.version is not None:
            request.model_spec.version.value = self.version
        images = tf.make_tensor_proto(np.array(encoded, object), tf.string)
        request.inputs["image_bytes"].CopyFrom(images)
        try:
            response = self.stub.Predict(request, self.timeout)
        except self.grpc.RpcError as error:
            code, codes = error.code(), self.grpc.StatusCode
            details = error.details()
            if code in (codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED):
                raise unreachable(self.url, details) from error
            if code == codes.RESOURCE_EXHAUSTED and "larger than max" in details:
                raise too_large_for_server(self.url, encoded, details) from error
            raise not_a_prediction(self.url, f"{code.name}, {details}") from error
        return outputs_of(response, len(encoded), self.url)


def outputs_of(response, count, url):
    """Reads a `PredictResponse`.

    Args:
        response: The message, or another object with `outputs`.
        count: Number of images in the request.
        url: URL of the model, for error messages.

    Returns:
        The dict of `ram_tf.serving.formats.export.serve_bytes`, as NumPy arrays.

    Raises:
        ValueError: The response is not a prediction.
    """
    missing = [name for name in OUTPUTS if name not in response.outputs]
    if missing:
        raise not_a_prediction(url, f"a response without {', '.join(missing)}")
    tensors = {name: response.outputs[name] for name in OUTPUTS}
    # A tensor of one value may claim any shape: check all shapes before making arrays.
    check_shapes({name: _shape(t) for name, t in tensors.items()}, count, url)
    try:
        outputs = {name: _to_array(tensor) for name, tensor in tensors.items()}
    except (ValueError, TypeError) as error:
        raise not_a_prediction(url, error) from error
    return checked_outputs(outputs, count, url)


def _channel_options(retries):
    # The server decides how large a request may be.
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", LARGEST_RESPONSE),
        ("grpc.enable_retries", int(retries > 0)),
    ]
    if retries:
        policy = {
            "maxAttempts": min(retries, 4) + 1,
            "initialBackoff": f"{BACKOFF}s",
            "maxBackoff": f"{BACKOFF * 2**MAX_DOUBLINGS}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        service = [{"service": "tensorflow.serving.PredictionService"}]
        config = {"methodConfig": [{"name": service, "retryPolicy": policy}]}
        options.append(("grpc.service_config", json.dumps(config)))
    return options


def _shape(tensor):
    dimensions = tensor.tensor_shape.dim
    return tuple(each.size for each in dimensions[:MAX_AXES])


def _to_array(tensor):
    """Converts a tensor's message, which must hold as many values as its shape has."""
    size = math.prod(each.size for each in tensor.tensor_shape.dim)
    if tensor.dtype not in VALUE_FIELDS:
        raise ValueError(f"a tensor of the type {tensor.dtype}")
    field, width = VALUE_FIELDS[tensor.dtype]
    received = len(tensor.tensor_content) / width or len(getattr(tensor, field))
    if received != size:
        raise ValueError(f"a tensor of {size} elements with {received:g} values")
    return tf.make_ndarray(tensor)
