"""The files of deploy/ are valid and agree with each other."""

import configparser
import pathlib
import re
import shlex

import pytest
import yaml
from google.protobuf import text_format

import ram_tf
from ram_tf.serving.formats.export import BATCHES
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def models():
    proto = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (DEPLOY / "models.config").read_text()
    parsed = text_format.Parse(text, proto.ModelServerConfig())
    return parsed.model_config_list.config


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def kubernetes():
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


def container(kubernetes):
    return kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def test_models_are_in_the_folder_that_compose_mounts(models, compose):
    for service in compose["services"].values():
        mounts = [volume.split(":") for volume in service["volumes"]]
        (folder,) = (inner for outer, inner, _ in mounts if "saved_models" in outer)
        assert all(m.base_path == f"{folder}/{m.name}" for m in models)
        assert (DEPLOY / mounts[0][0]).resolve().name == "saved_models"


def test_compose_and_kubernetes_use_the_same_flags(compose, kubernetes):
    flags = container(kubernetes)["args"]
    for service in compose["services"].values():
        assert service["command"] == flags


def test_files_named_by_flags_exist(kubernetes):
    paths = [
        pathlib.PurePosixPath(value)
        for value in (flag.partition("=")[2] for flag in container(kubernetes)["args"])
        if value.startswith("/config/")
    ]
    assert len(paths) == 3
    for path in paths:
        assert (DEPLOY / path.name).is_file()


def test_the_probe_requests_a_served_model(models, kubernetes):
    path = container(kubernetes)["readinessProbe"]["httpGet"]["path"]
    assert path in {f"/v1/models/{model.name}" for model in models}


def test_metrics_are_scraped_from_their_path(kubernetes):
    template = kubernetes["Deployment"]["spec"]["template"]
    path = template["metadata"]["annotations"]["prometheus.io/path"]
    assert f'path: "{path}"' in (DEPLOY / "monitoring.config").read_text()


def test_the_gpu_patch_changes_the_existing_container(kubernetes):
    patch = yaml.safe_load((DEPLOY / "kubernetes-gpu.yaml").read_text())
    (changed,) = patch["spec"]["template"]["spec"]["containers"]
    assert changed["name"] == container(kubernetes)["name"]
    assert changed["image"] == container(kubernetes)["image"] + "-gpu"


def test_the_config_map_holds_all_config_files():
    head = (DEPLOY / "kubernetes.yaml").read_text().partition("apiVersion")[0]
    text = head.replace("# ", "").replace("\\\n", "")
    flags = [word for word in shlex.split(text) if word.startswith("--from-file=")]
    names = {pathlib.PurePosixPath(word.partition("=")[2]).name for word in flags}
    assert names == {path.name for path in DEPLOY.glob("*.config")}


def required_packages():
    setup = configparser.ConfigParser()
    setup.read(DEPLOY.parent / "setup.cfg")
    return setup["options"]["install_requires"].split()


def test_images_of_the_server_are_of_the_packages_tensorflow(compose, kubernetes):
    images = [each["image"] for each in compose["services"].values()]
    images.append(container(kubernetes)["image"])
    (required,) = (p for p in required_packages() if p.startswith("tensorflow>"))
    release = required.removeprefix("tensorflow>=").partition(",")[0]
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(rf"tensorflow/serving:{release}\.\d+(-gpu)?", image)


def test_every_size_of_batch_is_warmed_up():
    text = (DEPLOY / "batching.config").read_text()
    allowed = [int(n) for n in re.findall(r"^allowed_batch_sizes: (\d+)", text, re.M)]
    assert tuple(allowed) == BATCHES
    assert f"max_batch_size {{ value: {max(allowed)} }}" in text


def test_the_queue_is_that_of_online_serving(kubernetes):
    text = (DEPLOY / "batching.config").read_text()
    cores = container(kubernetes)["resources"]["requests"]["cpu"]
    for name in ("num_batch_threads", "max_enqueued_batches"):
        assert f"{name} {{ value: {cores} }}" in text


def test_kserve_requires_the_tensorflow_of_the_package():
    required = required_packages()
    lines = (DEPLOY / "kserve" / "requirements.txt").read_text().splitlines()
    (tensorflow,) = (line for line in lines if line.startswith("tensorflow"))
    assert tensorflow in required


def test_kserve_starts_the_image_with_the_servers_flags():
    service = yaml.safe_load((DEPLOY / "kserve/inference_service.yaml").read_text())
    (served,) = service["spec"]["predictor"]["containers"]
    built = (DEPLOY / "kserve" / "Dockerfile").read_text()
    assert f"-t {served['image']} " in built
    server = (DEPLOY / "kserve" / "server.py").read_text()
    flags = [arg for arg in served["args"] if arg.startswith("--")]
    assert "--model_dir" in flags
    # KServe's own parser adds --model_name.
    assert all(f'"{flag}"' in server for flag in set(flags) - {"--model_name"})


def test_images_are_named_after_the_version():
    for path in ("Dockerfile", "kserve/Dockerfile"):
        named = re.findall(r"ram-tf\S*:(\d\S*)", (DEPLOY / path).read_text())
        assert named
        assert set(named) == {ram_tf.__version__}
