"""The files of deploy/ are valid and agree with each other."""

import configparser
import pathlib
import shlex

import pytest
import yaml
from google.protobuf import text_format

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


def test_kserve_requires_the_tensorflow_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(DEPLOY.parent / "setup.cfg")
    required = setup["options"]["install_requires"].split()
    lines = (DEPLOY / "kserve" / "requirements.txt").read_text().splitlines()
    (tensorflow,) = (line for line in lines if line.startswith("tensorflow"))
    assert tensorflow in required
