"""Requests that TensorFlow Serving sends itself when it loads a version.

The first call of a graph is slow, as it is optimised then; with these no client waits
for it.
"""

import numpy as np
import tensorflow as tf

NAME = "tf_serving_warmup_requests"  # TensorFlow Serving looks for it in assets.extra


def write(folder, model_name, size):
    """Writes one request for each signature.

    Args:
        folder: `assets.extra` of a version.
        model_name: The name that the model is served under.
        size: Edge of the grey image that is asked about, in pixels.

    Raises:
        ModuleNotFoundError: It needs the extra `serving`.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Requests to warm up by need tensorflow-serving-api. Expected: pip install "
            f'-e ".[serving]". Received: {error}'
        ) from error
    image = np.full((size, size, 3), 128, "uint8")
    encoded = tf.io.encode_jpeg(image).numpy()
    inputs = {
        "serving_default": ("image_bytes", tf.make_tensor_proto([encoded])),
        "serving_images": ("images", tf.make_tensor_proto(image[None])),
    }
    with tf.io.TFRecordWriter(str(folder / NAME)) as writer:
        for signature, (name, value) in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(value)
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
