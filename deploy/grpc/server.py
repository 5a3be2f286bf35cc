"""Serves a SavedModel over gRPC, without the binary of TensorFlow Serving.

    python deploy/grpc/server.py --model_dir saved_models/digits/1 --model_name digits

serves grpc://localhost:8500/digits: one version of one model, and only `Predict`.
It uses the generated stubs of TensorFlow Serving, from the extra `serving`.
"""

import argparse
import concurrent.futures
import pathlib

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class SavedModelService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers `Predict` with the signature that a request names.

    Args:
        name: Name under which the model is served.
        folder: Its version folder, whose name is the version number.

    Raises:
        OSError: There is no SavedModel.
        ValueError: The folder's name is not a number.
    """

    def __init__(self, name, folder):
        version = pathlib.Path(folder).resolve().name
        if not version.isdecimal():
            raise ValueError(
                "The folder is not a version of a model. Expected a --model_dir whose "
                f"name is a number. Received: {folder}"
            )
        self.name, self.version = name, int(version)
        # The signatures do not keep their variables alive; the loaded object does.
        self.loaded = tf.saved_model.load(str(folder))

    def Predict(self, request, context):  # noqa: N802
        spec = request.model_spec
        if spec.name != self.name or (
            spec.HasField("version") and spec.version.value != self.version
        ):
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found. Expected {self.name}, version {self.version}.",
            )
        graph = self.loaded.signatures.get(spec.signature_name or "serving_default")
        names = list(graph.structured_input_signature[1]) if graph else []
        if not graph or sorted(names) != sorted(request.inputs):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Signature {spec.signature_name} takes {', '.join(names) or 'nothing'}"
                f", not {', '.join(request.inputs) or 'nothing'}.",
            )
        inputs = {
            name: tf.constant(tf.make_ndarray(request.inputs[name])) for name in names
        }
        try:
            outputs = graph(**inputs)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error).splitlines()[0])
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(spec)
        response.model_spec.version.value = self.version
        for name, values in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values.numpy()))
        return response


def start(service, address, megabytes, threads):
    """Starts a server in threads of its own.

    Args:
        service: A `SavedModelService`.
        address: HOST:PORT; port 0 takes a free one.
        megabytes: Size of the largest request; gRPC's own default is 4.
        threads: Number of parallel requests.

    Returns:
        The server and its port.

    Raises:
        RuntimeError: The address is taken.
    """
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(threads),
        options=[("grpc.max_receive_message_length", megabytes * 2**20)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_dir", required=True, help="version of a SavedModel")
    parser.add_argument(
        "--model_name", default="default", help="name to serve; %(default)s"
    )
    parser.add_argument(
        "--address", default="localhost:8500", help="HOST:PORT; %(default)s"
    )
    parser.add_argument(
        "--megabytes", type=int, default=128, help="largest request; %(default)s"
    )
    parser.add_argument(
        "--threads", type=int, default=4, help="parallel requests; %(default)s"
    )
    arguments = parser.parse_args()
    try:
        service = SavedModelService(arguments.model_name, arguments.model_dir)
        server, port = start(
            service, arguments.address, arguments.megabytes, arguments.threads
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{arguments.model_name} is served on port {port}", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(grace=5)


if __name__ == "__main__":
    main()
