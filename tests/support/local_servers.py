"""Servers on free local ports with TensorFlow Serving's two protocols."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import pytest
import tensorflow as tf


@contextlib.contextmanager
def rest_server(answer):
    """Serves `answer(body) -> (status, bytes)`; yields the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answer(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/squares:predict"
        server.shutdown()


def rows_of(predictor):
    """Answers for `rest_server` as TensorFlow Serving's REST API, in its row format."""

    def answer(body):
        instances = json.loads(body)["instances"]
        outputs = predictor([base64.b64decode(each["b64"]) for each in instances])
        rows = [
            {name: values[i].tolist() for name, values in outputs.items()}
            for i in range(len(instances))
        ]
        return 200, json.dumps({"predictions": rows}).encode()

    return answer


@contextlib.contextmanager
def grpc_server(answer):
    """Serves `answer(images, context) -> dict of arrays`; yields the URL."""
    grpc = pytest.importorskip("grpc")
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    class Service(apis.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            assert request.model_spec.name == "squares"
            assert request.model_spec.signature_name == "serving_default"
            encoded = tf.make_ndarray(request.inputs["image_bytes"])
            response = predict_pb2.PredictResponse()
            for name, values in answer(list(encoded), context).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    apis.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}/squares"
    server.stop(0)


def served(protocol, predictor):
    """Serves a predictor by "rest" or "grpc"; yields the URL."""
    if protocol == "rest":
        return rest_server(rows_of(predictor))
    return grpc_server(lambda encoded, context: predictor(encoded))
