"""The card of an exported model: its head, its figures, and that it tells no paths."""

import json
import zipfile

import onnx
import pytest
import yaml

from ram_tf.evaluation import infer_split
from ram_tf.runs import run_models
from ram_tf.runs.splits import run_splits
from ram_tf.serving.formats import litert_model, onnx_model
from ram_tf.serving.formats.export import export
from ram_tf.serving.formats.model_card import FIGURES
from tests.support.untrained_runs import start_run


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    """An untrained run that was evaluated as a trained one is."""
    started = start_run(tmp_path_factory.mktemp("card") / "run", squares, seed=0)
    splits = run_splits.load(started.config)
    started.record_training_images(splits.train, splits.selection)
    pooled = run_models.load_pooled(started)
    infer_split.write_results(started, splits.report, pooled, served(started))
    return started


@pytest.fixture(scope="module")
def version(run, tmp_path_factory):
    parent = tmp_path_factory.mktemp("saved") / "squares"
    return export(served(run), run, parent, licence="apache-2.0")


def served(run):
    return run_models.served_view(run, run_models.load_attention(run))


def head(text):
    """The metadata between the two lines of dashes that a hub reads."""
    _, content, _ = text.split("---\n", 2)
    return yaml.safe_load(content)


def test_the_head_has_the_licence_the_labels_and_the_results(run, version):
    found = head((version / "README.md").read_text())
    results = json.loads((run.folder / "results.json").read_text())
    assert (found["license"], found["num_labels"]) == ("apache-2.0", 3)
    assert found["pipeline_tag"] == "image-classification"
    (entry,) = found["model-index"][0]["results"]
    values = {metric["type"]: metric["value"] for metric in entry["metrics"]}
    expected = {name: results.get(name) for name in FIGURES}
    expected = {n: round(v, 4) for n, v in expected.items() if v is not None}
    assert values == expected
    assert "mAP" in values
    assert entry["dataset"]["split"] == "val"


def test_the_card_names_images_intervals_and_labels(run, version):
    text = (version / "README.md").read_text()
    interval = json.loads((run.folder / "results.json").read_text())["intervals"]["mAP"]
    assert f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f}" in text
    count = len(run.training_images.names("train"))
    assert count
    assert f", {count} pictures to train on" in text
    assert "Labels: blue, green, red." in text


def test_results_of_other_views_are_not_shown(run, tmp_path):
    view = run_models.view(run, run_models.load_attention(run), [48])
    text = (export(view, run, tmp_path / "other") / "README.md").read_text()
    assert "Not evaluated" in text
    assert "model-index" not in head(text)


def test_no_file_of_a_version_names_a_folder_of_this_computer(run, version, squares):
    for path in version.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for folder in (run.folder, squares, version):
                assert str(folder).encode() not in content, path


@pytest.mark.slow
def test_the_card_is_a_text_within_the_files_of_other_formats(run, tmp_path):
    for export_to, ending in (
        (onnx_model.export, "onnx"),
        (litert_model.export, "tflite"),
    ):
        path = export_to(served(run), run, tmp_path / f"squares.{ending}")
        if ending == "onnx":
            texts = onnx.load(path).metadata_props
            text = {each.key: each.value for each in texts}["README.md"]
        else:
            text = zipfile.ZipFile(path).read("README.md").decode()
        assert f"--model_dir squares.{ending}" in text
        assert head(text)["num_labels"] == 3
