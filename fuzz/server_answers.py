"""What a server may answer, sent over a socket: `ram_tf.client`."""

import gzip
import json
import socketserver
import threading

import numpy as np
from hypothesis import strategies as st

from fuzz.mutations import spoilt, spoilt_json
from fuzz.target import Target
from ram_tf import client

ROW = {
    "scores": [0.5, -1.0],
    "probabilities": [0.6, 0.3],
    "regions": [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]],
    "boxes": [[0.0, 0.0, 1.0, 1.0]],
    "region_scores": [[0.5, -1.0]],
    "valid": True,
}
CONTENT = {"predictions": [ROW]}


def target(folder):
    """The client, of a server that answers whatever it is told to."""
    server = _serve()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/models/m:predict"
    ask = client.connect(url, timeout=5, retries=0)

    def read(answer):
        server.answer = answer
        outputs = ask([b"image"])
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


def _answer(body, status=b"200 OK", head=b""):
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\n" + length + head + b"\r\n" + body


def _serve():
    """A server on a free port that sends its `answer` to whoever asks."""

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
            """Says nothing of a client that has hung up."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
