"""Asks a server for predictions over gRPC, TensorFlow Serving's other protocol."""

import json
import math

import numpy as np
import tensorflow as tf

from ram_tf.serving.clients.responses import (
    BACKOFF,
    DOUBLED,
    LARGEST,
    LARGEST_ANSWER,
    OUTPUTS,
    RETRIES,
    TIMEOUT,
    check_request,
    check_shapes,
    checked_outputs,
    refused,
    too_large_for,
    unreachable,
)

# Where a tensor's message has its values, if not as bytes, and how many bytes each.
KINDS = {
    tf.float32.as_datatype_enum: ("float_val", 4),
    tf.bool.as_datatype_enum: ("bool_val", 1),
}
AXES = 5  # of a shape that are looked at: more than any has


class GrpcClient:
    """Asks over gRPC with protocol buffers. It may be called from several threads.

    Args:
        target: HOST:PORT.
        name: Of the model.
        version: Of the model; None for the newest.
        timeout: See `connection.connect`.
        retries: See `connection.connect`; gRPC itself allows 4 at most.
        largest: See `connection.connect`.

    Call arguments:
        encoded: A list of one or more `bytes`, an image each.

    Returns:
        The dict of `ram_tf.serving.export.serve_bytes`, as NumPy arrays.

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
        check_request(encoded, self.largest)
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
                raise unreachable(self.url, error.details()) from error
            if code == lost.RESOURCE_EXHAUSTED and "larger than max" in error.details():
                raise too_large_for(self.url, encoded, error.details()) from error
            refusal = f"{code.name}, {error.details()}"
            raise refused(self.url, refusal) from error
        return outputs_of(answer, len(encoded), self.url)


def outputs_of(answer, count, url):
    """Reads a `PredictResponse`.

    Args:
        answer: What has come, or another message with `outputs`.
        count: The images that were asked about.
        url: Named where it is no prediction.

    Returns:
        The dict of `ram_tf.serving.export.serve_bytes`, as NumPy arrays.

    Raises:
        ValueError: It is no prediction.
    """
    missing = [name for name in OUTPUTS if name not in answer.outputs]
    if missing:
        raise refused(url, f"an answer without {', '.join(missing)}")
    tensors = {name: answer.outputs[name] for name in OUTPUTS}
    # A tensor of one value may claim any shape: none is made before all fit.
    check_shapes({name: _shape(t) for name, t in tensors.items()}, count, url)
    try:
        outputs = {name: _array(tensor) for name, tensor in tensors.items()}
    except (ValueError, TypeError) as error:
        raise refused(url, error) from error
    return checked_outputs(outputs, count, url)


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
