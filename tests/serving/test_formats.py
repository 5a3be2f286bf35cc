"""Models exported to ONNX and LiteRT, and run from C, equal the Keras model."""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from benchmarks import photographs
from ram_tf.evaluation import svm
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.formats import litert_model, onnx_model, single_size
from ram_tf.serving.formats.export import export, metadata
from ram_tf.serving.predictor import Predictor
from tests.support.paths import ROOT
from tests.support.small_settings import BY_CONTENT, SMALL

LABELS = ("red", "green", "blue")
C_API = ROOT / "deploy" / "c_api"
FORMATS = (onnx_model, litert_model)
LITERT = ("ai_edge_litert",)


ANCHORED = {"starts": "anchors"}
KINDS = {
    "rdar": ANCHORED,
    "rarl": {"model": "rarl", **ANCHORED},
    "rdar by content": BY_CONTENT,
    "rarl by content": {"model": "rarl", **BY_CONTENT},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {
        name: trained(tmp_path_factory.mktemp("run"), changes)
        for name, changes in KINDS.items()
    }


# Each export takes ten seconds, so that `make test` has one of the four.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param("rdar", marks=pytest.mark.slow),
        pytest.param("rarl", marks=pytest.mark.slow),
        "rdar by content",
        pytest.param("rarl by content", marks=pytest.mark.slow),
    ],
)
def run(request, runs):
    return runs[request.param]


@pytest.fixture(scope="module")
def rdar(runs):
    return runs["rdar"]


def trained(folder, changes):
    settings = SMALL.replace(steps=2, regions=3, units=64, **changes)
    run = Run.start(folder, settings, LABELS)
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    built = run_models.build_attention(run, pooled)
    # Different values in all weights, so that swapped weights change the outputs.
    rng = np.random.default_rng(0)
    for variable in built.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    built.save_weights(run.model_weights)
    calibration = dataclasses.replace(run.calibration, temperature=2.0)
    run.calibration_file.write_text(calibration.to_json(LABELS))
    return run


def served(run):
    return run_models.served_view(run, run_models.load_attention(run))


@pytest.fixture(scope="module")
def version(rdar, tmp_path_factory):
    return export(served(rdar), rdar, tmp_path_factory.mktemp("saved") / "tiny")


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    return photographs.write(tmp_path_factory.mktemp("photographs"), 10)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports a run to a format, once for each choice of arguments."""

    @functools.cache
    def write(kind, run, **how):
        needs(kind)
        path = tmp_path_factory.mktemp("files") / f"tiny{kind.ENDING}"
        return kind.export(served(run), run, path, **how)

    return write


def needs(kind):
    packages = {onnx_model: ("onnxruntime", "tf2onnx"), litert_model: LITERT}[kind]
    for package in packages:
        pytest.importorskip(package, reason=f"needs the extra {kind.EXTRA}")


def assert_equal(outputs, expected, tolerance=1e-4):
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("kind", FORMATS)
def test_outputs_for_ten_photographs_equal_those_of_keras(run, ten, kind, exported):
    encoded = [path.read_bytes() for path in ten]
    file = Predictor.load(exported(kind, run))
    keras_model = Predictor.load(run.folder)
    assert_equal(file(encoded), keras_model(encoded))
    assert file.label_names == LABELS
    assert file.about == keras_model.about


@pytest.fixture(scope="module")
def in_c(tmp_path_factory):
    """Runs the program of deploy/c_api, compiled with the wheel of TensorFlow."""
    if not (shutil.which("cc") and shutil.which("make")):
        pytest.skip("needs a C compiler and make")
    program = tmp_path_factory.mktemp("c") / "predict"
    command = ["make", "-C", C_API, f"PYTHON={sys.executable}", f"OUTPUT={program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return lambda *arguments: subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_scores_for_ten_photographs_are_the_same_from_c(version, ten, in_c, tmp_path):
    text = tmp_path / 'a "quoted".jpg'
    text.write_text("no image")
    done = in_c(version, *ten, text)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [*map(str, ten), str(text)]
    paths = [*ten, text]
    expected = Predictor.load(version)([path.read_bytes() for path in paths])
    for name in ("valid", "scores", "probabilities"):
        found = [line[name] for line in lines]
        np.testing.assert_allclose(found, expected[name], atol=1e-4)


@pytest.mark.slow
def test_in_c_a_folder_without_a_model_is_reported_in_one_sentence(in_c, ten, tmp_path):
    done = in_c(tmp_path, ten[0])
    assert done.returncode == 1
    assert "error: The SavedModel cannot be run." in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_with_svms_gives_the_same_outputs(rdar, ten, kind, tmp_path):
    rng = np.random.default_rng(0)
    view = run_models.view(
        rdar, run_models.load_attention(rdar), count=5, source="features", describe="z"
    )
    width = rdar.config.attention.units
    fitted = svm.OneVsRestSVM(
        rng.normal(size=(3, width)).astype("float32"),
        rng.normal(size=3).astype("float32"),
        rng.uniform(0.5, 2, (3, 2)).astype("float32"),
        np.ones(3),
        view.about,
    )
    view = svm.SVMView(view, fitted)
    encoded = [path.read_bytes() for path in ten[:2]]
    needs(kind)
    file = Predictor.load(kind.export(view, rdar, tmp_path / f"tiny{kind.ENDING}"))
    assert_equal(file(encoded), Predictor.of(view, rdar)(encoded))


@pytest.mark.parametrize("kind", FORMATS)
def test_unreadable_images_and_empty_batches_are_as_in_the_keras_model(
    rdar, ten, kind, exported
):
    file = Predictor.load(exported(kind, rdar))
    keras_model = Predictor.load(rdar.folder)
    for encoded in ([b"text", ten[0].read_bytes(), b""], []):
        assert_equal(file(encoded), keras_model(encoded))


def test_litert_files_use_built_in_operations_only(run, exported):
    content = exported(litert_model, run).read_bytes()
    # Other operations are listed by name; those of TensorFlow have this prefix.
    assert b"Flex" not in content
    assert b"images" in content


def test_quantised_weights_are_small_and_change_scores_little(rdar, ten, exported):
    whole = exported(litert_model, rdar)
    small = exported(litert_model, rdar, quantize=True)
    assert small.stat().st_size < 0.5 * whole.stat().st_size
    encoded = [path.read_bytes() for path in ten]
    expected, found = (Predictor.load(p)(encoded)["scores"] for p in (whole, small))
    assert 0 < np.abs(found - expected).max() < 0.1 * np.ptp(expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_holds_labels_and_settings(rdar, kind, exported):
    path = exported(kind, rdar)
    _, texts = kind.load(path)
    assert metadata(served(rdar), rdar).items() <= texts.items()
    assert texts["labels.txt"].split() == list(LABELS)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_unzip_extracts_the_labels_from_a_litert_file(rdar, exported):
    with zipfile.ZipFile(exported(litert_model, rdar)) as appended:
        assert appended.read("labels.txt").decode().split() == list(LABELS)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_without_a_model_is_refused(kind, tmp_path):
    needs(kind)
    path = tmp_path / f"text{kind.ENDING}"
    path.write_text("no model")
    with pytest.raises(ValueError, match="no model that can be run"):
        Predictor.load(path)


def with_texts(kind, path, texts, how=zipfile.ZIP_STORED):
    """Replaces the texts in an exported file."""
    if kind is onnx_model:
        import onnx

        model = onnx.load(path)
        onnx.helper.set_model_props(model, texts)
        onnx.save(model, path)
        return path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as appended:
            end = min(member.header_offset for member in appended.infolist())
        os.truncate(path, end)
    with zipfile.ZipFile(path, "a", how) as appended:
        for name, text in texts.items():
            appended.writestr(name, text)
    return path


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views.json": "[]"}, r"views\.json cannot be read"),
        ({"views.json": "[" * 100_000}, r"views\.json cannot be read"),
        ({"views.json": '{"scales": [40], "thresholds": [7, "x", 0]}'}, "thresholds"),
        ({"views.json": '{"scales": [40], "thresholds": 5}'}, r"views\.json cannot"),
        ({"views.json": '{"scales": [1e9]}'}, "scales"),
        ({"views.json": '{"scales": [1000000]}'}, "scales"),
        ({"views.json": "{}"}, "scales"),
        ({"views.json": " " * (single_size.LARGEST_TEXT + 1)}, r"views\.json"),
        ({"config.json": "[" * 100_000}, "no configuration"),
    ],
)
def test_texts_in_a_file_that_cannot_be_read_are_named(
    rdar, kind, change, message, exported, tmp_path
):
    path = shutil.copy(exported(kind, rdar), tmp_path)
    with_texts(kind, pathlib.Path(path), {**metadata(served(rdar), rdar), **change})
    with pytest.raises(ValueError, match=f"no model that can be run.*{message}"):
        Predictor.load(path)


def test_compressed_texts_are_refused(rdar, exported, tmp_path):
    path = pathlib.Path(shutil.copy(exported(litert_model, rdar), tmp_path))
    texts = metadata(served(rdar), rdar)
    with_texts(litert_model, path, texts, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"labels\.txt is compressed"):
        Predictor.load(path)


@pytest.mark.parametrize(
    ("kind", "package"), [(onnx_model, "onnxruntime"), (litert_model, "ai_edge_litert")]
)
def test_a_format_without_its_extra_names_it(kind, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    path = tmp_path / f"any{kind.ENDING}"
    path.touch()
    with pytest.raises(ModuleNotFoundError, match=f"needs the extra {kind.EXTRA}"):
        Predictor.load(path)


def test_export_without_the_extra_names_the_extra(rdar, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ModuleNotFoundError, match="needs the extra onnx"):
        onnx_model.export(served(rdar), rdar, tmp_path / "tiny.onnx")


@pytest.mark.parametrize("kind", FORMATS)
def test_an_unsupported_operation_is_refused_and_nothing_written(rdar, kind, tmp_path):
    needs(kind)
    settings = rdar.config.replace(model="rarl", locations="random")
    run = dataclasses.replace(rdar, config=settings)
    model = run_models.build_attention(run, run_models.build_pooled(run, "average"))
    view = run_models.view(run, model)
    with pytest.raises(ValueError, match="lacks an operation of this model"):
        kind.export(view, run, tmp_path / f"tiny{kind.ENDING}")
    assert not list(tmp_path.iterdir())


def test_several_scales_are_refused(rdar, tmp_path):
    view = run_models.view(rdar, run_models.load_attention(rdar), sizes=[40, 48])
    with pytest.raises(ValueError, match="images of one size"):
        litert_model.export(view, rdar, tmp_path / "tiny.tflite")
    assert not list(tmp_path.iterdir())
