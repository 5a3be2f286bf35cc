"""Servers of deploy/ over real sockets, asked by the client about a real SavedModel."""

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
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.clients import connection
from ram_tf.serving.clients.responses import MEGABYTE, TooLargeError
from ram_tf.serving.export import export
from ram_tf.serving.predictor import Predictor
from tests.support.paths import ROOT
from tests.support.small_settings import SMALL

KSERVE = ROOT / "deploy" / "kserve" / "server.py"


@pytest.fixture(scope="module")
def version(squares, tmp_path_factory):
    settings = SMALL.replace(data_dir=str(squares))
    run = Run(tmp_path_factory.mktemp("run"), settings, ("blue", "green", "red"))
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "average"),
    )
    return export(run_models.view(run, model), run, tmp_path_factory.mktemp("saved"))


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


def test_all_but_the_broken_image_are_answered_as_by_the_local_model(
    url, version, encoded
):
    seen = connection.connect(url)(encoded)
    assert seen["valid"].tolist() == [True] * 3 + [False] + [True] * 4
    assert not seen["scores"][3].any()
    for name, expected in Predictor.load(version)(encoded).items():
        assert seen[name].dtype == expected.dtype
        np.testing.assert_allclose(seen[name], expected, atol=1e-4)


def test_another_models_name_is_not_found(url):
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
def test_kserve_answers_what_is_no_request_by_what_it_expected(kserve_url, body):
    answer = requests.post(kserve_url, json=body, timeout=60)
    assert answer.status_code == 400
    assert 'Expected {"instances": [{"b64":' in answer.json()["error"]


def test_grpc_knows_one_version(grpc_url):
    assert connection.connect(f"{grpc_url}/1")([b"x"])["valid"].tolist() == [False]
    with pytest.raises(ValueError, match="NOT_FOUND"):
        connection.connect(f"{grpc_url}/2")([b"x"])


def test_a_request_beyond_the_grpc_servers_megabytes_is_refused(start, version):
    remote = connection.connect(start(version, megabytes=1))
    with pytest.raises(TooLargeError, match="larger than max"):
        remote([b"x" * 2 * MEGABYTE])


def test_a_grpc_model_of_other_inputs_says_which_it_takes(start, tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="text")
    module.length = tf.function(lambda text: {"n": tf.strings.length(text)}, [spec])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.length)
    with pytest.raises(ValueError, match="takes text, not image_bytes"):
        connection.connect(start(tmp_path / "1"))([b"x"])


def test_a_folder_that_is_no_version_is_not_served(start, tmp_path):
    with pytest.raises(ValueError, match="no version"):
        start(tmp_path)


def test_the_benchmark_keeps_what_it_measured_of_a_running_server(
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
    assert capsys.readouterr().out.count("requests a second") == 2


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
    now, asked = [0.0], []

    def ask(batch):
        asked.append(batch)
        now[0] += len(asked)

    taken, lasted = serving.load(ask, "abc", 1, 5, lambda: now[0])
    # At 3 of 5 seconds the third request begins.
    assert (taken, lasted, asked) == ([1, 2, 3], 6, ["a", "b", "c"])


def test_clients_ask_at_the_same_time_about_different_images():
    together = threading.Barrier(3, timeout=10)
    asked = []

    def ask(batch):
        together.wait()
        asked.append(batch)

    taken, _ = serving.load(ask, "abc", 3, 0)
    assert sorted(asked) == ["a", "b", "c"]
    assert len(taken) == 3


def test_figures_of_serving_are_worked_out_from_seconds():
    asked = [float(second) for second in range(1, 102)]
    assert serving.summary(asked, [12.75, 1, 90], 7) == {
        "requests_a_second": 7,
        "p50": 51,
        "p99": 100,
        "share": 0.25,
    }
