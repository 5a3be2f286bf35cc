"""Fuzzes `rest_client` and `grpc_client` in `ram_tf.serving.clients` with answers.

REST answers are sent over a socket. For gRPC the inputs are the bytes of the tensors,
which gRPC's own parser accepts or refuses.
"""

import gzip
import json
import socketserver
import threading
import types

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2

from fuzz.mutations import one_spoilt, spoilt, spoilt_json
from fuzz.target import Target
from ram_tf.serving.clients import connection
from ram_tf.serving.clients.grpc_client import outputs_of

ROW = {
    "scores": [0.5, -1.0],
    "probabilities": [0.6, 0.3],
    "regions": [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]],
    "boxes": [[0.0, 0.0, 1.0, 1.0]],
    "region_scores": [[0.5, -1.0]],
    "valid": True,
}
CONTENT = {"predictions": [ROW]}
TENSORS = {
    name: tf.make_tensor_proto([value], tf.bool if name == "valid" else tf.float32)
    for name, value in ROW.items()
}
CLAIMS = (0, 1, 2, 3, 4, 6, 1 << 20, 1 << 25, 1 << 40, (1 << 63) - 1, -1, -(1 << 63))


def target(folder):
    """Returns the clients' target, with a server that sends any given answer."""
    server = _serve()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/models/m:predict"
    request = connection.connect(url, timeout=5, retries=0)

    def read(answer):
        if isinstance(answer, dict):
            outputs = _of_tensors(answer)
        else:
            server.answer = answer
            outputs = request([b"image"])
        if outputs is None:
            return
        labels = outputs["scores"].shape[1]
        assert outputs["region_scores"].shape[::2] == (1, labels)
        assert outputs["boxes"].shape[2:] == (4,)
        assert outputs["valid"].dtype == bool
        assert all(np.isfinite(values).all() for values in outputs.values())

    valid = _answer(json.dumps(CONTENT).encode())
    body = spoilt_json(CONTENT)
    status = st.sampled_from((b"200 OK",) * 5 + (b"302 Found", b"404 x", b"500 x"))
    heads = st.sampled_from(HEADS)
    inputs = st.one_of(
        body.map(_answer),
        body.map(_answer),
        st.builds(_answer, body, status, heads),
        spoilt(valid, _answer(gzip.compress(b"0" * 10**7), head=HEADS[1])),
        one_spoilt(
            {name: tensor.SerializeToString() for name, tensor in TENSORS.items()},
            {name: _spoilt_tensor(tensor) for name, tensor in TENSORS.items()},
        ),
        st.builds(_claiming, st.sampled_from(CLAIMS), st.sampled_from(CLAIMS)),
    )
    return Target(inputs, read, valid)


HEADS = (
    b"",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: br, x\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Location: http://127.0.0.1:1/\r\n",
    b"Location: file:///etc/passwd\r\n",
    b"Content-Type: text/html; charset=\xff\r\n",
    b"X: " + b"a" * 70_000 + b"\r\n",
    b"X: y\r\n" * 200,
)


def _of_tensors(contents):
    """Parses tensors and reads them as the client does; None if they do not parse."""
    parse = tensor_pb2.TensorProto.FromString
    try:
        tensors = {name: parse(content) for name, content in contents.items()}
    except DecodeError:
        return None
    message = types.SimpleNamespace(outputs=tensors)
    return outputs_of(message, 1, "grpc://host/m")


def _spoilt_tensor(tensor):
    """Draws the bytes of a tensor with edits, or with another shape and content."""
    shape = st.lists(st.sampled_from(CLAIMS), max_size=5)
    changed = st.builds(
        _changed, st.just(tensor), shape, st.integers(0, 30), st.binary(max_size=24)
    )
    return spoilt(tensor.SerializeToString()) | changed


def _changed(tensor, shape, kind, content):
    other = tensor_pb2.TensorProto()
    other.CopyFrom(tensor)
    other.tensor_shape.Clear()
    for size in shape:
        other.tensor_shape.dim.add(size=size)
    if kind:
        other.dtype = kind
    other.tensor_content = content
    return other.SerializeToString()


def _claiming(regions, labels):
    """Returns tensors of consistent shapes that hold a single value each."""
    shapes = {
        "scores": (1, labels),
        "probabilities": (1, labels),
        "regions": (1, regions, 2, 3),
        "boxes": (1, regions, 4),
        "region_scores": (1, regions, labels),
        "valid": (1,),
    }
    contents = {}
    for name, shape in shapes.items():
        kind = {"bool_val": [True]} if name == "valid" else {"float_val": [0.5]}
        tensor = tensor_pb2.TensorProto(dtype=TENSORS[name].dtype, **kind)
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        contents[name] = tensor.SerializeToString()
    return contents


def _answer(body, status=b"200 OK", head=b""):
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\n" + length + head + b"\r\n" + body


def _serve():
    """Starts a server on a free port that sends its `answer` to every request."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            length = 0
            while (line := self.rfile.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            self.wfile.write(self.server.answer)

    class Server(socketserver.TCPServer):
        allow_reuse_address = True

        def handle_error(self, request, client_address):
            """Ignores clients that have closed the connection."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
