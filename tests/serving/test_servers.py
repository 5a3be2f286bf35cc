"""The servers of deploy/ and the benchmark of servers, over real sockets."""

import json
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import requests
import tensorflow as tf

from benchmarks import serving
from ram_tf.serving.clients import connection
from ram_tf.serving.clients.responses import MEGABYTE, TooLargeError
from ram_tf.serving.predictor import Predictor
from tests.support.paths import ROOT

KSERVE = ROOT / "deploy" / "kserve" / "server.py"


@pytest.fixture(scope="module")
def start():
    pytest.importorskip("tensorflow_serving", reason="needs the extra serving")
    from deploy.grpc import server

    running = []

    def start(folder, megabytes=8):
        service = server.SavedModelService("squares", folder)
        process, port = server.start(service, "localhost:0", megabytes, threads=2)
        running.append(process)
        return f"grpc://localhost:{port}/squares"

    yield start
    for process in running:
        process.stop(0)


@pytest.fixture(scope="module")
def grpc_url(start, version):
    return start(version)


@pytest.fixture(scope="module")
def kserve_url(version, tmp_path_factory):
    pytest.importorskip("kserve", reason="needs deploy/kserve/requirements.txt")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, KSERVE, "--model_dir", version, "--model_name"]
    command += ["squares", "--http_port", str(port)]
    log = tmp_path_factory.mktemp("kserve") / "log"
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        address = f"http://localhost:{port}/v1/models/squares"
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                requests.get(address, timeout=1).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.2)
        yield f"{address}:predict"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(params=["kserve_url", "grpc_url"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def encoded(squares):
    found = [path.read_bytes() for path in sorted(squares.glob("val*.png"))[:8]]
    return [*found[:3], found[3][:100], *found[4:]]


def test_a_server_predicts_the_same_as_the_local_model(url, local, encoded):
    found = connection.connect(url)(encoded)
    assert found["valid"].tolist() == [True] * 3 + [False] + [True] * 4
    assert not found["scores"][3].any()
    for name, expected in local(encoded).items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_allclose(found[name], expected, atol=1e-4)


def test_the_name_of_another_model_is_not_found(url):
    with pytest.raises(ValueError, match=r"(404|NOT_FOUND).* (not found|not exist)"):
        connection.connect(url.replace("squares", "circles"))([b"x"])


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"image": "eA=="}]},
        {"instances": [{"b64": "***"}]},
        {"instances": [{"b64": 3}]},
        {"instances": []},
        {"images": [{"b64": "eA=="}]},
        [],
    ],
)
def test_kserve_answers_an_invalid_request_with_the_expected_form(kserve_url, body):
    answer = requests.post(kserve_url, json=body, timeout=60)
    assert answer.status_code == 400
    assert 'Expected {"instances": [{"b64":' in answer.json()["error"]


def test_the_grpc_server_serves_one_version(grpc_url):
    assert connection.connect(f"{grpc_url}/1")([b"x"])["valid"].tolist() == [False]
    with pytest.raises(ValueError, match="NOT_FOUND"):
        connection.connect(f"{grpc_url}/2")([b"x"])


def test_a_request_beyond_the_grpc_servers_megabytes_is_refused(start, version):
    remote = connection.connect(start(version, megabytes=1))
    with pytest.raises(TooLargeError, match="larger than max"):
        remote([b"x" * 2 * MEGABYTE])


def test_the_error_for_other_inputs_names_those_of_the_model(start, tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="text")
    module.length = tf.function(lambda text: {"n": tf.strings.length(text)}, [spec])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.length)
    with pytest.raises(ValueError, match="takes text, not image_bytes"):
        connection.connect(start(tmp_path / "1"))([b"x"])


def test_a_folder_without_a_version_number_is_not_served(start, tmp_path):
    with pytest.raises(ValueError, match="not a version"):
        start(tmp_path)


def test_the_benchmark_stores_the_metrics_of_a_running_server(
    url, version, squares, tmp_path, capsys
):
    path = tmp_path / "results.json"
    flags = ["--rounds", "2", "--seconds", "0.2", "--clients", "1", "2"]
    flags += ["--model_dir", str(version), "--url", url, "--images", str(squares)]
    assert serving.main([*flags, "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    protocol = "grpc" if url.startswith("grpc") else "rest"
    for clients in (1, 2):
        name = f"serving_{protocol}_{clients}"
        assert 0 < content[f"{name}_p50"] <= content[f"{name}_p99"]
        assert content[f"{name}_share"] > 0
        details = content["details"][f"{name}_requests_a_second"]
        assert details["low"] <= details["value"] <= details["high"]
        assert details["settings"]["clients"] == clients
    assert capsys.readouterr().out.count("requests per second") == 2


def test_the_benchmark_refuses_a_server_of_another_model(
    url, version, squares, tmp_path, monkeypatch
):
    class Other(Predictor):
        def __call__(self, encoded):
            outputs = super().__call__(encoded)
            return {**outputs, "scores": outputs["scores"] + 1}

    monkeypatch.setattr(serving, "Predictor", Other)
    flags = ["--model_dir", str(version), "--url", url, "--images", str(squares)]
    with pytest.raises(ValueError, match="The server has another model"):
        serving.main([*flags, "--output", str(tmp_path / "results.json")])


def test_requests_are_timed_one_by_one_until_the_time_is_over():
    now, sent = [0.0], []

    def send(batch):
        sent.append(batch)
        now[0] += len(sent)

    taken, lasted = serving.load(send, "abc", 1, 5, lambda: now[0])
    # The third request begins at 3 of 5 seconds, so it is the last.
    assert (taken, lasted, sent) == ([1, 2, 3], 6, ["a", "b", "c"])


def test_clients_send_different_images_at_the_same_time():
    together = threading.Barrier(3, timeout=10)
    sent = []

    def send(batch):
        together.wait()
        sent.append(batch)

    taken, _ = serving.load(send, "abc", 3, 0)
    assert sorted(sent) == ["a", "b", "c"]
    assert len(taken) == 3


def test_metrics_of_serving_are_computed_from_seconds():
    latencies = [float(second) for second in range(1, 102)]
    assert serving.summary(latencies, [12.75, 1, 90], 7) == {
        "requests_a_second": 7,
        "p50": 51,
        "p99": 100,
        "share": 0.25,
    }
