"""Clients of a server, asked over real sockets: a small server speaks the protocols."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.clients import connection, rest_client
from ram_tf.serving.clients.grpc_client import outputs_of
from ram_tf.serving.clients.responses import LARGEST_ANSWER, MEGABYTE, TooLargeError
from ram_tf.serving.export import export
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor
from tests.support.paths import ROOT
from tests.support.small_settings import SMALL

LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def version(squares, tmp_path_factory):
    settings = SMALL.replace(data_dir=str(squares))
    run = Run(tmp_path_factory.mktemp("run"), settings, LABELS)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "average"),
    )
    return export(run_models.view(run, model), run, tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def local(version):
    return Predictor.load(version)


@pytest.fixture
def images(squares, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"this is text")
    found = sorted(squares.glob("val*.png"))[:7]
    return [*found[:3], broken, *found[3:]]


@contextlib.contextmanager
def rest_server(answer):
    """Serves `answer(body) -> (status, bytes)` on a free port; yields the URL."""

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


def serving(predictor):
    """Answers as TensorFlow Serving's REST API does, in its row format."""

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
    """Serves `answer(images, context) -> dict of arrays`; yields HOST:PORT."""
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
    yield f"127.0.0.1:{port}"
    server.stop(0)


@contextlib.contextmanager
def served(protocol, predictor):
    if protocol == "rest":
        with rest_server(serving(predictor)) as url:
            yield url
    else:
        with grpc_server(lambda encoded, context: predictor(encoded)) as target:
            yield f"grpc://{target}/squares"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_lines_and_pictures_are_those_of_the_local_model(
    protocol, at_once, version, local, images, tmp_path
):
    expected = list(predict(local, images, tmp_path / "local", batch_size=8))
    with served(protocol, local) as url:
        remote = Predictor.load(version, connection.connect(url))
        seen = list(predict(remote, images, tmp_path / "far", None, 3, at_once))
    assert [line["valid"] for line in seen] == [True] * 3 + [False] + [True] * 4
    for one, other in zip(seen, expected, strict=True):
        assert (one["image"], one["labels"]) == (other["image"], other["labels"])
        if one["valid"]:
            assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    pictures = sorted(path.name for path in (tmp_path / "far").iterdir())
    assert len(pictures) == 7
    for name in pictures:
        far, near = (tmp_path / where / name for where in ("far", "local"))
        assert far.read_bytes() == near.read_bytes()


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_outputs_have_the_shapes_and_values_of_the_graph(protocol, local, images):
    encoded = [path.read_bytes() for path in images]
    with served(protocol, local) as url:
        seen = connection.connect(url)(encoded)
    for name, values in local(encoded).items():
        assert (seen[name].shape, seen[name].dtype) == (values.shape, values.dtype)
        np.testing.assert_allclose(seen[name], values, atol=1e-6)


def test_requests_are_made_at_once_and_answered_in_order(version, local, images):
    running, most, lock = 0, 0, threading.Lock()

    def slow(encoded):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.2)
        with lock:
            running -= 1
        return local(encoded)

    with rest_server(serving(slow)) as url:
        remote = Predictor.load(version, connection.connect(url))
        seen = list(predict(remote, images, None, None, 2, 3))
    assert most == 3
    for line, expected in zip(seen, predict(local, images), strict=True):
        assert line["image"] == expected["image"]
        assert line.get("scores") == pytest.approx(expected.get("scores"), abs=1e-5)


def test_a_busy_server_is_asked_again(local, images, monkeypatch):
    monkeypatch.setattr(rest_client, "BACKOFF", 0.01)
    asked = []

    def busy(body):
        asked.append(body)
        return serving(local)(body) if len(asked) == 3 else (503, b"busy")

    with rest_server(busy) as url:
        seen = connection.connect(url, retries=2)([images[0].read_bytes()])
    assert len(asked) == 3
    assert seen["valid"].all()


def test_a_server_that_stays_busy_is_named_with_what_it_said(monkeypatch):
    monkeypatch.setattr(rest_client, "BACKOFF", 0.01)
    with (
        rest_server(lambda body: (503, b"busy")) as url,
        pytest.raises(ValueError, match=r"no prediction.*503, busy"),
    ):
        connection.connect(url, retries=1)([b"x"])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, b'{"error": "Missing\\n key"}'), "status 400, Missing key"),
        ((413, b"too large"), "takes, which says 'too large'"),
        ((404, b'{"error": "Servable not found"}'), "Servable not found"),
        ((200, b"<html>hello</html>"), "<html>"),
        ((200, b'{"predictions": [{"scores": [1]}]}'), "scores"),
        ((200, b'{"outputs": []}'), "outputs"),
        ((200, b"[]"), r"\[\]"),
    ],
)
def test_an_answer_that_is_no_prediction_is_said_in_one_sentence(answer, said):
    with (
        rest_server(lambda body: answer) as url,
        pytest.raises(ValueError, match=said) as caught,
    ):
        connection.connect(url)([b"x"])
    assert "\n" not in str(caught.value)


def test_fewer_rows_than_images_are_no_prediction(local, images):
    def one_less(encoded):
        return {name: values[:-1] for name, values in local(encoded).items()}

    encoded = [path.read_bytes() for path in images[:2]]
    with (
        grpc_server(lambda encoded, context: one_less(encoded)) as target,
        pytest.raises(ValueError, match="for 2 images"),
    ):
        connection.connect(f"grpc://{target}/squares")(encoded)


def test_a_grpc_refusal_is_said_in_one_sentence():
    import grpc

    def refuse(encoded, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")

    with (
        grpc_server(refuse) as target,
        pytest.raises(ValueError, match="NOT_FOUND, Servable not found"),
    ):
        connection.connect(f"grpc://{target}/squares")([b"x"])


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v1/models/m:predict", "grpc://127.0.0.1:9/m"]
)
def test_a_server_that_is_not_there_is_named(url):
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        connection.connect(url, timeout=2, retries=0)([b"x"])


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_does_not_answer_in_time_is_named(protocol, local, images):
    def late(encoded):
        time.sleep(1)
        return local(encoded)

    with (
        served(protocol, late) as url,
        pytest.raises(ConnectionError, match="does not answer"),
    ):
        connection.connect(url, timeout=0.2, retries=0)([images[0].read_bytes()])


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8501",
        "http://localhost:8501/v1/models/m",
        "grpc://",
        "grpc://localhost:8500/m/newest",
        "ftp://localhost/m:predict",
    ],
)
def test_an_address_of_no_model_is_refused(url):
    with pytest.raises(ValueError, match="no address"):
        connection.connect(url)


def test_a_timeout_of_nothing_is_refused():
    with pytest.raises(ValueError, match="timeout"):
        connection.connect("grpc://localhost:8500/m", timeout=0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/m:predict", "grpc://127.0.0.1:9"])
def test_what_no_server_should_get_is_not_sent(url):
    # Nothing listens there: whatever is sent ends in a ConnectionError.
    nobody = connection.connect(url, timeout=2, retries=0, largest=1)
    with pytest.raises(ValueError, match="nothing to ask"):
        nobody([])
    with pytest.raises(TooLargeError, match=r"at most 1 MB .*: 1\.5 MB"):
        nobody([b"x" * (MEGABYTE // 2), b"x" * MEGABYTE])


def lines_with_a_large_image(version, local, images, url, **limits):
    """The line of an image of 5 MB, after a check of those of the others around it."""
    large = images[3].with_name("large.png")
    large.write_bytes(images[2].read_bytes() + b"x" * 5 * MEGABYTE)
    paths = [*images[:2], large, *images[4:]]
    remote = Predictor.load(version, connection.connect(url, **limits))
    seen = list(predict(remote, paths))
    for line, expected in zip(seen, predict(local, paths), strict=True):
        assert line["image"] == expected["image"]
        if line["image"] != str(large):
            assert line["valid"]
            assert line["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    return seen[2]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_image_too_large_for_the_client_costs_no_other(
    protocol, version, local, images
):
    with served(protocol, local) as url:
        line = lines_with_a_large_image(version, local, images, url, largest=1)
    assert not line["valid"]
    assert "at most 1 MB of images. Received: 5" in line["error"]


def test_an_image_too_large_for_a_rest_server_costs_no_other(version, local, images):
    def strict(body):
        if len(body) > MEGABYTE:
            return 413, b"request entity too large"
        return serving(local)(body)

    with rest_server(strict) as url:
        line = lines_with_a_large_image(version, local, images, url)
    assert not line["valid"]
    assert "takes, which says 'request entity too large'" in line["error"]


def test_an_image_too_large_for_a_grpc_server_costs_no_other(version, local, images):
    # 4 MB are the default of gRPC's servers.
    with grpc_server(lambda encoded, context: local(encoded)) as target:
        url = f"grpc://{target}/squares"
        line = lines_with_a_large_image(version, local, images, url)
    assert not line["valid"]
    assert "4194304" in line["error"]


def test_a_list_too_large_for_one_request_is_asked_in_parts(version, local, images):
    sizes = []

    def count(encoded):
        sizes.append(sum(map(len, encoded)))
        return local(encoded)

    largest = 2.5 * max(path.stat().st_size for path in images) / MEGABYTE
    with rest_server(serving(count)) as url:
        remote = Predictor.load(version, connection.connect(url, largest=largest))
        seen = list(predict(remote, images))
    assert len(sizes) > 1
    assert max(sizes) <= largest * MEGABYTE
    for line, expected in zip(seen, predict(local, images), strict=True):
        assert line.get("scores") == pytest.approx(expected.get("scores"), abs=1e-5)


def test_connections_are_kept_for_as_many_requests_as_are_made_at_once(local, caplog):
    def late(body):
        time.sleep(0.2)
        return 503, b"busy"

    with (
        rest_server(late) as url,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        remote = connection.connect(url, retries=0)
        asked = [pool.submit(remote, [b"x"]) for _ in range(16)]
        concurrent.futures.wait(asked)
    assert not caplog.records


ROW = {
    "scores": [0.5, 1.0],
    "probabilities": [0.6, 0.7],
    "regions": [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]],
    "boxes": [[0.0, 0.0, 1.0, 1.0]],
    "region_scores": [[0.5, 1.0]],
    "valid": True,
}


def answering(row):
    return lambda body: (200, json.dumps({"predictions": [row]}).encode())


def test_an_answer_of_the_right_shapes_is_a_prediction():
    with rest_server(answering(ROW)) as url:
        assert connection.connect(url)([b"x"])["valid"].all()


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
def test_an_answer_of_other_shapes_or_kinds_is_no_prediction(change):
    with (
        rest_server(answering({**ROW, **change})) as url,
        pytest.raises(ValueError, match="no prediction"),
    ):
        connection.connect(url)([b"x"])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"[" * 100_000), "no prediction"),
        ((200, b" " * (LARGEST_ANSWER + 1)), "more than 33554432 bytes"),
        ((302, b"elsewhere"), "status 302"),
    ],
)
def test_an_answer_without_end_or_from_elsewhere_is_refused(answer, said):
    with (
        rest_server(lambda body: answer) as url,
        pytest.raises(ValueError, match=said),
    ):
        connection.connect(url)([b"x"])


LISTS = b"[0]," * (rest_client.LISTS // 2)
NUMBERS = b"-6," * (rest_client.NUMBERS - rest_client.LISTS)
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
def test_a_permitted_answer_takes_no_more_memory_than_is_bounded(status, body):
    with rest_server(lambda asked: (status, body)) as url:
        program = (
            "import sys\n"
            "from fuzz.target import peak_memory\n"
            "from ram_tf.serving.clients import connection\n"
            "before = peak_memory()\n"
            "try:\n"
            "    connection.connect(sys.argv[1])([b'x'])\n"
            "except ValueError as error:\n"
            "    assert 'no prediction' in str(error)\n"
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


def test_the_largest_answers_are_predictions():
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
    # Nine digits are what TensorFlow Serving writes of a float32.
    text = re.sub(r"(\.\d{8})\d+", r"\1", json.dumps(row)).encode()
    body = b'{"predictions": [' + b", ".join([text] * count) + b"]}"
    assert 0.5 * LARGEST_ANSWER < len(body) < LARGEST_ANSWER
    with rest_server(lambda asked: (200, body)) as url:
        seen = connection.connect(url)([b"x"] * count)
    np.testing.assert_allclose(seen["scores"], [row["scores"]] * count, atol=1e-6)


@pytest.mark.parametrize("retries", [0, 4])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_not_waited_for(head, retries):
    class Drips(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                self.request.sendall(head or b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.05):
                    self.request.sendall(b"X: y\r\n")

    over = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drips) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/models/m:predict"
        # Without an end of its own the server would be waited for without end.
        threading.Timer(5, over.set).start()
        started = time.monotonic()
        with pytest.raises(ConnectionError, match=r"no end within 0\.5 seconds"):
            connection.connect(url, timeout=0.5, retries=retries)([b"x"])
        assert time.monotonic() - started < 4
        over.set()
        server.shutdown()


def test_a_server_that_stays_busy_is_not_asked_beyond_the_timeout():
    asked = []

    def busy(body):
        asked.append(time.monotonic())
        return 503, b"busy"

    started = time.monotonic()
    with (
        rest_server(busy) as url,
        pytest.raises(ValueError, match=r"no prediction.*503, busy"),
    ):
        connection.connect(url, timeout=2, retries=9)([b"x"])
    assert time.monotonic() - started < 4
    assert len(asked) > 1
    assert max(asked) - started < 2


class Answer:
    """A `PredictResponse` without tensorflow-serving-api."""

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


def test_a_grpc_answer_of_the_right_shapes_is_a_prediction():
    seen = outputs_of(Answer(ROW), 1, "grpc://host/m")
    assert {name: values[0].tolist() for name, values in seen.items()} == {
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
def test_tensors_that_claim_more_than_they_carry_take_no_memory(shapes):
    answer = Answer(ROW, shapes)
    tracemalloc.start()
    with pytest.raises(ValueError, match="no prediction") as caught:
        outputs_of(answer, 1, "grpc://host/m")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert len(str(caught.value)) < 1000


def test_a_model_of_other_labels_than_its_folder_is_refused(version):
    with rest_server(answering(ROW)) as url:
        remote = Predictor.load(version, connection.connect(url))
        with pytest.raises(ValueError, match=r"Expected 3\. Received: 2"):
            remote([b"x"])


@pytest.mark.parametrize("text", ["[", "[]", '{"thresholds": [0.5]}', "[" * 100_000])
def test_views_that_cannot_be_read_are_named(version, text, tmp_path):
    folder = tmp_path / "1"
    # Without checksums, as they were before there were any.
    shutil.copytree(version, folder, ignore=shutil.ignore_patterns("checksums"))
    (folder / "assets.extra" / "views.json").write_text(text)
    with pytest.raises(ValueError, match=r"views\.json cannot be read"):
        Predictor.load(folder, client=lambda encoded: {})
