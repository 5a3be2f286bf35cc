"""Which responses of a server the clients accept, and how much memory these take."""

import json
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.serving.clients import rest_client
from ram_tf.serving.clients.connection import connect
from ram_tf.serving.clients.grpc_client import outputs_of
from ram_tf.serving.clients.responses import LARGEST_RESPONSE
from ram_tf.serving.predictor import Predictor
from tests.support.local_servers import grpc_server, rest_server
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((400, b'{"error": "Missing\\n key"}'), "status 400, Missing key"),
        ((413, b"too large"), "accepts, which replied 'too large'"),
        ((404, b'{"error": "Servable not found"}'), "Servable not found"),
        ((200, b"<html>hello</html>"), "<html>"),
        ((200, b'{"predictions": [{"scores": [1]}]}'), "scores"),
        ((200, b'{"outputs": []}'), "outputs"),
        ((200, b"[]"), r"\[\]"),
    ],
)
def test_a_response_that_is_not_a_prediction_is_reported_in_one_line(answer, expected):
    with (
        rest_server(lambda body: answer) as url,
        pytest.raises(ValueError, match=expected) as caught,
    ):
        connect(url)([b"x"])
    assert "\n" not in str(caught.value)


def test_fewer_rows_than_images_are_not_a_prediction(local, squares):
    def one_less(encoded):
        return {name: values[:-1] for name, values in local(encoded).items()}

    encoded = [(squares / f"val{i}.png").read_bytes() for i in range(2)]
    with (
        grpc_server(lambda encoded, context: one_less(encoded)) as url,
        pytest.raises(ValueError, match="for 2 images"),
    ):
        connect(url)(encoded)


def test_a_grpc_error_is_reported_with_its_code():
    import grpc

    def refuse(encoded, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")

    with (
        grpc_server(refuse) as url,
        pytest.raises(ValueError, match="NOT_FOUND, Servable not found"),
    ):
        connect(url)([b"x"])


ROW = {
    "scores": [0.5, 1.0],
    "probabilities": [0.6, 0.7],
    "regions": [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]],
    "boxes": [[0.0, 0.0, 1.0, 1.0]],
    "region_scores": [[0.5, 1.0]],
    "valid": True,
}


def responding(row):
    return lambda body: (200, json.dumps({"predictions": [row]}).encode())


def test_a_response_of_the_expected_shapes_is_a_prediction():
    with rest_server(responding(ROW)) as url:
        assert connect(url)([b"x"])["valid"].all()


@pytest.mark.parametrize(
    "change",
    [
        {"scores": "ab"},
        {"scores": [0.5]},
        {"probabilities": [None, 1.0]},
        {"probabilities": ["0.6", 0.7]},
        {"boxes": [[0.0, 0.0, 1.0]]},
        {"region_scores": [[float("nan"), 1.0]]},
        {"region_scores": [[1e300, 1.0]]},
        {"valid": 1},
        {"valid": [10**400]},
    ],
)
def test_a_response_of_other_shapes_or_types_is_not_a_prediction(change):
    with (
        rest_server(responding({**ROW, **change})) as url,
        pytest.raises(ValueError, match="not a prediction"),
    ):
        connect(url)([b"x"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, b"[" * 100_000), "not a prediction"),
        ((200, b" " * (LARGEST_RESPONSE + 1)), "more than 33554432 bytes"),
        ((302, b"elsewhere"), "status 302"),
    ],
)
def test_oversized_and_redirected_responses_are_refused(answer, expected):
    with (
        rest_server(lambda body: answer) as url,
        pytest.raises(ValueError, match=expected),
    ):
        connect(url)([b"x"])


LISTS = b"[0]," * (rest_client.MAX_LISTS // 2)
NUMBERS = b"-6," * (rest_client.MAX_NUMBERS - rest_client.MAX_LISTS)
SCORES = b'{"predictions":[{"scores":['
EMPTY = b"[]," * (10 << 20)
TEXTS = b'"%s",' % (b"a" * 10**7) + b'"b",' * 10**5
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, b"[" + EMPTY + b"0]", id="lists", marks=SLOW),
        pytest.param(400, b"[" + EMPTY + b"0]", id="refused", marks=SLOW),
        pytest.param(200, SCORES + LISTS + NUMBERS + b"0]}]}", id="numbers"),
        pytest.param(200, SCORES + TEXTS + b"0]}]}", id="texts", marks=SLOW),
    ],
)
def test_reading_a_response_takes_less_than_512_mib(status, body):
    with rest_server(lambda _: (status, body)) as url:
        program = (
            "import sys\n"
            "from fuzz.target import peak_memory\n"
            "from ram_tf.serving.clients import connection\n"
            "before = peak_memory()\n"
            "try:\n"
            "    connection.connect(sys.argv[1])([b'x'])\n"
            "except ValueError as error:\n"
            "    assert 'not a prediction' in str(error)\n"
            "    print(peak_memory() - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 512


def test_the_largest_response_is_a_prediction():
    labels, regions, count = 1000, 45, 30
    rng = np.random.default_rng(0)

    def some(*shape):
        return rng.normal(size=shape).astype("float32").tolist()

    row = {
        "scores": some(labels),
        "probabilities": some(labels),
        "regions": some(regions, 2, 3),
        "boxes": some(regions, 4),
        "region_scores": some(regions, labels),
        "valid": True,
    }
    # TensorFlow Serving writes nine digits of a float32.
    text = re.sub(r"(\.\d{8})\d+", r"\1", json.dumps(row)).encode()
    body = b'{"predictions": [' + b", ".join([text] * count) + b"]}"
    assert 0.5 * LARGEST_RESPONSE < len(body) < LARGEST_RESPONSE
    with rest_server(lambda _: (200, body)) as url:
        found = connect(url)([b"x"] * count)
    np.testing.assert_allclose(found["scores"], [row["scores"]] * count, atol=1e-6)


class Response:
    """A `PredictResponse` for tests without tensorflow-serving-api."""

    def __init__(self, row, shapes=()):
        arrays = {name: np.array([value]) for name, value in row.items()}
        arrays = {n: a if n == "valid" else a.astype("f4") for n, a in arrays.items()}
        self.outputs = {n: tf.make_tensor_proto(a) for n, a in arrays.items()}
        for name, shape in dict(shapes).items():
            message = self.outputs[name]
            message.ClearField("tensor_content")
            message.ClearField("float_val")
            message.float_val.append(1)
            message.tensor_shape.Clear()
            for size in shape:
                message.tensor_shape.dim.add(size=size)


def test_a_grpc_response_of_the_expected_shapes_is_a_prediction():
    found = outputs_of(Response(ROW), 1, "grpc://host/m")
    assert {name: values[0].tolist() for name, values in found.items()} == {
        name: pytest.approx(value) if np.ndim(value) == 1 else value
        for name, value in ROW.items()
    }


REGIONS, MANY = 10**5, 100


@pytest.mark.parametrize(
    "shapes",
    [
        {"scores": (10**12,)},
        {"scores": (1, 30 << 20), "probabilities": (1, 30 << 20)},
        {"boxes": (1, 1, 4)},
        {
            "scores": (1, MANY),
            "probabilities": (1, MANY),
            "regions": (1, REGIONS, 2, 3),
            "boxes": (1, REGIONS, 4),
            "region_scores": (1, REGIONS, MANY),
        },
        {"region_scores": (1, -1, -1)},
        {"scores": (1,) * 1000},
    ],
)
def test_tensors_with_fewer_values_than_their_shape_take_no_memory(shapes):
    response = Response(ROW, shapes)
    tracemalloc.start()
    with pytest.raises(ValueError, match="not a prediction") as caught:
        outputs_of(response, 1, "grpc://host/m")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert len(str(caught.value)) < 1000


def test_a_server_of_other_labels_than_the_model_folder_is_refused(version):
    with rest_server(responding(ROW)) as url:
        remote = Predictor.load(version, connect(url))
        with pytest.raises(ValueError, match=r"Expected 3\. Received: 2"):
            remote([b"x"])
