"""Predictions through a server over REST and gRPC: values, limits and retries."""

import concurrent.futures
import contextlib
import shutil
import socketserver
import threading
import time

import numpy as np
import pytest

from ram_tf.serving.clients import rest_client
from ram_tf.serving.clients.connection import connect
from ram_tf.serving.clients.responses import MEGABYTE, TooLargeError
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor
from tests.support.local_servers import rest_server, rows_of, served

PROTOCOLS = ("rest", "grpc")


@pytest.fixture
def images(squares, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"this is text")
    found = sorted(squares.glob("val*.png"))[:7]
    return [*found[:3], broken, *found[3:]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("at_once", [1, 3])
def test_records_and_pictures_are_those_of_the_local_model(
    protocol, at_once, version, local, images, tmp_path
):
    expected = list(predict(local, images, tmp_path / "local", batch_size=8))
    with served(protocol, local) as url:
        remote = Predictor.load(version, connect(url))
        found = list(predict(remote, images, tmp_path / "far", None, 3, at_once))
    assert [line["valid"] for line in found] == [True] * 3 + [False] + [True] * 4
    for one, other in zip(found, expected, strict=True):
        assert (one["image"], one["labels"]) == (other["image"], other["labels"])
        if one["valid"]:
            assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    pictures = sorted(path.name for path in (tmp_path / "far").iterdir())
    assert len(pictures) == 7
    for name in pictures:
        far, near = (tmp_path / where / name for where in ("far", "local"))
        assert far.read_bytes() == near.read_bytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_outputs_have_the_shapes_and_values_of_the_graph(protocol, local, images):
    encoded = [path.read_bytes() for path in images]
    with served(protocol, local) as url:
        found = connect(url)(encoded)
    for name, values in local(encoded).items():
        assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)
        np.testing.assert_allclose(found[name], values, atol=1e-6)


def test_requests_run_in_parallel_and_results_stay_in_order(version, local, images):
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

    with rest_server(rows_of(slow)) as url:
        remote = Predictor.load(version, connect(url))
        found = list(predict(remote, images, None, None, 2, 3))
    assert most == 3
    for line, expected in zip(found, predict(local, images), strict=True):
        assert line["image"] == expected["image"]
        assert line.get("scores") == pytest.approx(expected.get("scores"), abs=1e-5)


def test_a_request_to_a_busy_server_is_retried(local, images, monkeypatch):
    monkeypatch.setattr(rest_client, "BACKOFF", 0.01)
    sent = []

    def busy(body):
        sent.append(body)
        return rows_of(local)(body) if len(sent) == 3 else (503, b"busy")

    with rest_server(busy) as url:
        found = connect(url, retries=2)([images[0].read_bytes()])
    assert len(sent) == 3
    assert found["valid"].all()


def test_the_error_for_a_busy_server_includes_its_message(monkeypatch):
    monkeypatch.setattr(rest_client, "BACKOFF", 0.01)
    with (
        rest_server(lambda body: (503, b"busy")) as url,
        pytest.raises(ValueError, match=r"not a prediction.*503, busy"),
    ):
        connect(url, retries=1)([b"x"])


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v1/models/m:predict", "grpc://127.0.0.1:9/m"]
)
def test_an_unreachable_server_is_named(url):
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        connect(url, timeout=2, retries=0)([b"x"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_does_not_answer_in_time_is_named(protocol, local, images):
    def late(encoded):
        time.sleep(1)
        return local(encoded)

    with (
        served(protocol, late) as url,
        pytest.raises(ConnectionError, match="does not answer"),
    ):
        connect(url, timeout=0.2, retries=0)([images[0].read_bytes()])


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
def test_a_url_that_names_no_model_is_refused(url):
    with pytest.raises(ValueError, match="does not name a model"):
        connect(url)


def test_a_timeout_of_zero_is_refused():
    with pytest.raises(ValueError, match="timeout"):
        connect("grpc://localhost:8500/m", timeout=0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/m:predict", "grpc://127.0.0.1:9"])
def test_empty_and_too_large_requests_are_not_sent(url):
    # Nothing listens there: a request would end in a ConnectionError.
    client = connect(url, timeout=2, retries=0, largest=1)
    with pytest.raises(ValueError, match="request is empty"):
        client([])
    with pytest.raises(TooLargeError, match=r"at most 1 MB .*: 1\.5 MB"):
        client([b"x" * (MEGABYTE // 2), b"x" * MEGABYTE])


def record_of_a_large_image(version, local, images, url, **limits):
    """Checks the records of images around one of 5 MB; returns the record of that."""
    large = images[3].with_name("large.png")
    large.write_bytes(images[2].read_bytes() + b"x" * 5 * MEGABYTE)
    paths = [*images[:2], large, *images[4:]]
    remote = Predictor.load(version, connect(url, **limits))
    found = list(predict(remote, paths))
    for line, expected in zip(found, predict(local, paths), strict=True):
        assert line["image"] == expected["image"]
        if line["image"] != str(large):
            assert line["valid"]
            assert line["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    return found[2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_image_too_large_for_the_client_fails_alone(
    protocol, version, local, images
):
    with served(protocol, local) as url:
        line = record_of_a_large_image(version, local, images, url, largest=1)
    assert not line["valid"]
    assert "at most 1 MB of images (--largest). Received: 5" in line["error"]


def test_an_image_too_large_for_a_rest_server_fails_alone(version, local, images):
    def strict(body):
        if len(body) > MEGABYTE:
            return 413, b"request entity too large"
        return rows_of(local)(body)

    with rest_server(strict) as url:
        line = record_of_a_large_image(version, local, images, url)
    assert not line["valid"]
    assert "accepts, which replied 'request entity too large'" in line["error"]


def test_an_image_too_large_for_a_grpc_server_fails_alone(version, local, images):
    # gRPC servers accept 4 MB by default.
    with served("grpc", local) as url:
        line = record_of_a_large_image(version, local, images, url)
    assert not line["valid"]
    assert "4194304" in line["error"]


def test_a_batch_too_large_for_one_request_is_divided(version, local, images):
    sizes = []

    def count(encoded):
        sizes.append(sum(map(len, encoded)))
        return local(encoded)

    largest = 2.5 * max(path.stat().st_size for path in images) / MEGABYTE
    with rest_server(rows_of(count)) as url:
        remote = Predictor.load(version, connect(url, largest=largest))
        found = list(predict(remote, images))
    assert len(sizes) > 1
    assert max(sizes) <= largest * MEGABYTE
    for line, expected in zip(found, predict(local, images), strict=True):
        assert line.get("scores") == pytest.approx(expected.get("scores"), abs=1e-5)


def test_connections_of_parallel_requests_are_kept(local, caplog):
    def late(body):
        time.sleep(0.2)
        return 503, b"busy"

    with (
        rest_server(late) as url,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        remote = connect(url, retries=0)
        sent = [pool.submit(remote, [b"x"]) for _ in range(16)]
        concurrent.futures.wait(sent)
    assert not caplog.records


@pytest.mark.parametrize("retries", [0, 4])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_slow_response_is_abandoned_at_the_timeout(head, retries):
    class SlowServer(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                self.request.sendall(head or b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.05):
                    self.request.sendall(b"X: y\r\n")

    over = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SlowServer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/models/m:predict"
        # Ends the server if the client fails to give up.
        threading.Timer(5, over.set).start()
        started = time.monotonic()
        with pytest.raises(ConnectionError, match=r"no end within 0\.5 seconds"):
            connect(url, timeout=0.5, retries=retries)([b"x"])
        assert time.monotonic() - started < 4
        over.set()
        server.shutdown()


def test_a_busy_server_is_not_retried_after_the_timeout():
    sent = []

    def busy(body):
        sent.append(time.monotonic())
        return 503, b"busy"

    started = time.monotonic()
    with (
        rest_server(busy) as url,
        pytest.raises(ValueError, match=r"not a prediction.*503, busy"),
    ):
        connect(url, timeout=2, retries=9)([b"x"])
    assert time.monotonic() - started < 4
    assert len(sent) > 1
    assert max(sent) - started < 2


@pytest.mark.parametrize("text", ["[", "[]", '{"thresholds": [0.5]}', "[" * 100_000])
def test_a_views_file_that_cannot_be_read_is_named(version, text, tmp_path):
    folder = tmp_path / "1"
    # Without checksums, as in versions exported before they were written.
    shutil.copytree(version, folder, ignore=shutil.ignore_patterns("checksums"))
    (folder / "assets.extra" / "views.json").write_text(text)
    with pytest.raises(ValueError, match=r"views\.json cannot be read"):
        Predictor.load(folder, client=lambda encoded: {})
