"""Tests of the scripts on a small trained run and its SavedModel."""

import io
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ram_tf.data import progress
from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.evaluation.ensemble import svm_view
from ram_tf.evaluation.results import REGION_METRICS
from ram_tf.runs.run import Run
from ram_tf.runs.splits.run_splits import load_report
from tests.support.scripts import SMALL_FLAGS, fit_error, script


@pytest.fixture(scope="module")
def fitted(squares, tmp_path_factory):
    """The folder of a short run and its SavedModel, and what `fit` printed, as texts.

    Nothing is printed to a terminal.
    """
    folder = tmp_path_factory.mktemp("fit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        patch.setattr(sys, "stderr", io.StringIO())
        status = script("fit")(
            *(*SMALL_FLAGS, f"--data_dir={squares}", f"--output_dir={folder / 'run'}"),
            *(f"--saved_models={folder / 'saved'}", "--name=squares"),
        )
        texts = sys.stdout.getvalue(), sys.stderr.getvalue()
    assert status == 0, texts[1][-2000:]
    return folder, texts


@pytest.fixture(scope="module")
def trained(fitted):
    """The output folder of a short run, and the folder of its SavedModel's version."""
    folder, _ = fitted
    return folder / "run", folder / "saved" / "squares" / "1"


def test_a_log_has_no_control_characters(fitted):
    assert not [text for text in fitted[1] if progress.CONTROL.search(text)]


def test_a_log_has_one_line_an_epoch_with_its_metrics(fitted):
    _, (log, _) = fitted
    found = re.findall(r"^(\w+: epoch .*)$", log, re.M)
    expected = ["step1: epoch 1 of 1", "step2: epoch 1 of 1"]
    assert [line.partition(",")[0] for line in found] == expected
    for line in found:
        assert re.search(r", \d+ s, ", line)
        for name in ("loss", "val_loss", "val_mAP", "learning_rate"):
            assert re.search(rf", {name} \d\S*(,|$)", line), (name, line)
    assert "Epoch" not in log


def test_fit_writes_weights_settings_metrics_images_and_saved_model(trained):
    run, version = trained
    for name in ("model.weights.h5", "pooled.weights.h5", "config.json", "regions.png"):
        assert (run / name).stat().st_size > 0
    assert (version / "saved_model.pb").is_file()
    result = json.loads((run / "results.json").read_text())
    for name in "mAP AP OP OR OF1 CP CR CF1 protocol images mAP_min10 pooled".split():
        assert name in result
    for name in REGION_METRICS:
        assert 0 <= result[name] <= 1


def test_run_and_saved_model_evaluate_to_what_fit_reported(trained, squares, tmp_path):
    run, version = trained
    reported = json.loads((run / "results.json").read_text())
    for model, place in ((run, tmp_path / "run.json"), (version, tmp_path / "v.json")):
        status = script("evaluate")(
            f"--model_dir={model}",
            "--dataset=csv",
            f"--data_dir={squares}",
            "--split=val",
            f"--output={place}",
        )
        assert status == 0
        result = json.loads(place.read_text())
        assert result["split"] == "val"
        # A SavedModel does not contain step 1.
        unknown = {"pointing_evidence"} if model is version else set()
        for name in {"mAP", "CF1", *REGION_METRICS} - unknown:
            assert result[name] == pytest.approx(reported[name], abs=1e-5)
    assert result["pooled"] is None
    assert result["pointing_evidence"] is None


def test_predict_writes_a_line_and_a_picture_per_image(
    trained, squares, tmp_path, capsys
):
    names = ["val0.png", "val1.png"]
    status = script("predict")(
        "--model_dir",
        trained[1],
        "--output_dir",
        tmp_path,
        *(squares / n for n in names),
    )
    assert status == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [pathlib.Path(line["image"]).name for line in lines] == names
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_the_error_of_predict_tells_which_images_it_can_read(trained, tmp_path, capsys):
    Image.new("L", (9000, 9000)).save(tmp_path / "large.png")
    assert script("predict")(f"--model_dir={trained[0]}", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "1 of 1 images cannot be read" in error
    assert "80000000" in error.replace(",", "")


def test_predict_reads_the_names_of_images_from_stdin(
    trained, squares, capsys, monkeypatch
):
    names = [str(squares / "val1.png"), str(squares / "val0.png")]
    listed = ("\r\n".join(names) + "\r\n").encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed)))
    assert script("predict")("--model_dir", trained[1], "-") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == names


def test_export_adds_the_next_version(trained, tmp_path, capsys):
    for version in ("1", "2"):
        assert (
            script("export")("--model_dir", trained[0], "--saved_models", tmp_path) == 0
        )
        printed = pathlib.Path(capsys.readouterr().out.strip())
        assert printed == tmp_path / "squares" / version


def test_several_runs_are_exported_as_an_ensemble(trained, squares, tmp_path, capsys):
    assert (
        script("export")("--model_dir", trained[0], trained[0], f"--saved={tmp_path}")
        == 0
    )
    version = capsys.readouterr().out.strip()
    views = json.loads(pathlib.Path(version, "assets.extra/views.json").read_text())
    assert (views["models"], views["scales"]) == (2, [40, 40])


@pytest.mark.slow
def test_an_exported_litert_file_predicts(trained, squares, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    run, _ = trained
    how = (f"--saved_models={tmp_path}", "--format=litert", "--quantize")
    assert script("export")(f"--model_dir={run}", "--name=squares", *how) == 0
    file = tmp_path / "squares-quantized.tflite"
    assert list(tmp_path.iterdir()) == [file]
    capsys.readouterr()
    assert script("predict")(f"--model_dir={file}", squares / "val0.png") == 0
    line = json.loads(capsys.readouterr().out)
    assert line["valid"]
    assert set(line["scores"]) == {"blue", "green", "red"}


@pytest.mark.parametrize("flags", ["--format=onnx --quantize", "--quantize"])
def test_quantize_is_refused_with_another_format_than_litert(trained, flags, capsys):
    with pytest.raises(SystemExit):
        script("export")(f"--model_dir={trained[0]}", *flags.split())
    assert "is for --format litert only" in capsys.readouterr().err


def test_compare_prints_the_metrics_of_each_run(trained, tmp_path, capsys):
    result = json.loads((trained[0] / "results.json").read_text())
    copies = [shutil.copytree(trained[0], tmp_path / name) for name in "ab"]
    assert script("compare")(*copies) == 0
    *_, of_all, regions = capsys.readouterr().out.split("\n\n")
    of_all, regions = of_all.splitlines(), regions.splitlines()
    assert of_all[0].startswith("mAP, 3 labels")
    first, second = 100 * result["mAP"], 100 * result["pooled"]["mAP"]
    for line in (*of_all[1:3], of_all[3].partition("(")[0]):
        _, attention, pooled, difference = line.split()
        assert (attention, pooled) == (f"{first:.1f}", f"{second:.1f}")
        assert difference == f"{first - second:+.1f}"
    assert regions[0].split()[-6:] == [*REGION_METRICS]
    for line in regions[1:3]:
        assert line.split()[1:] == [
            f"{100 * result[name]:.1f}" for name in REGION_METRICS
        ]


@pytest.mark.slow
def test_a_run_of_step_1_alone_is_a_baseline_and_can_be_resumed(
    trained, squares, tmp_path, capsys
):
    flags = *SMALL_FLAGS, f"--data_dir={squares}", f"--output_dir={tmp_path / 'run'}"
    flags = *flags, f"--saved_models={tmp_path / 'saved'}"
    assert script("fit")(*flags, "--pooled_only") == 0
    whole = json.loads((trained[0] / "results.json").read_text())
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(result) == {
        *("images", "split", "pooled", "pointing_evidence", "pointing_centre")
    }
    # Step 1 is equal, because seed and settings are.
    for name in result:
        assert result[name] == whole[name]
    assert not (tmp_path / "saved").exists()
    capsys.readouterr()
    assert script("compare")(trained[0], "--baseline", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert f"its own step 1 for {trained[0]}" in printed
    assert "step 1 of 1 epochs" in printed
    assert script("fit")(*flags, "--resume") == 0
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    assert result["mAP"] == whole["mAP"]


def test_runs_that_report_on_other_images_are_not_compared(trained, tmp_path, capsys):
    other = shutil.copytree(trained[0], tmp_path / "other")
    (other / "checksums" / "config.json").unlink()
    settings = json.loads((other / "config.json").read_text())
    settings["report_split"] = "train"
    (other / "config.json").write_text(json.dumps(settings))
    assert script("compare")(trained[0], other) == 1
    assert f"Received: others in {other}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def with_svm(trained, squares, tmp_path_factory):
    """A run whose SVMs evaluate.py has fitted, its result, and the SavedModel."""
    folder = tmp_path_factory.mktemp("svm")
    run = shutil.copytree(trained[0], folder / "run")
    status = script("evaluate")(
        *(f"--model_dir={run}", "--split=val", f"--output={folder / 'r.json'}"),
        *("--views=10", "--scales=48", "--svm"),
    )
    assert status == 0
    saved = folder / "saved"
    status = script("export")(f"--model_dir={run}", "--svm", f"--saved_models={saved}")
    assert status == 0
    result = json.loads((folder / "r.json").read_text())
    return run, result, saved / "squares-svm" / "1"


@pytest.mark.slow
def test_evaluate_writes_views_and_svm_and_compares_them_with_other_models(with_svm):
    result = with_svm[1]
    named = {"views": 10, "views_from": "features", "scales": [48], "svm": True}
    assert named.items() <= result["protocol"].items()
    for name in ("attention", "single_view", "pooled"):
        assert 0 <= result[name]["mAP"] <= 1
        assert f"above_{name}" in result


@pytest.mark.slow
def test_the_exported_svm_gives_the_scores_that_were_evaluated(
    with_svm, squares, tmp_path
):
    run, version = Run.open(with_svm[0]), with_svm[2]
    split = load_report(run.config, "val", run.label_names)
    client = tmp_path / "client.py"
    client.write_text(
        "import sys\n"
        "sys.modules['ram_tf'] = None  # makes its import fail\n"
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "_, version, output, *images = sys.argv\n"
        "served = tf.saved_model.load(version).signatures['serving_default']\n"
        "images = tf.constant([open(path, 'rb').read() for path in images])\n"
        "served = {k: v.numpy() for k, v in served(image_bytes=images).items()}\n"
        "np.savez(output, **served)\n"
    )
    output = tmp_path / "served.npz"
    done = subprocess.run(
        [sys.executable, client, version, output, *split.images],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    view = svm_view([run])
    (images,) = evaluation_pipeline(split, view.sizes, view.crops, len(split))
    # The SVM's scores for the network's outputs, as evaluate.py computes them.
    outputs = {name: value.numpy() for name, value in view.view(images).items()}
    expected = view.svm.postprocess(outputs)
    with np.load(output) as served:
        assert set(served) == {*expected, "valid"}
        for name, values in expected.items():
            np.testing.assert_allclose(served[name], values, atol=1e-4, err_msg=name)
        assert np.ptp(served["scores"], axis=0).min() > 1e-3


@pytest.mark.slow
def test_the_exported_svm_evaluates_to_the_same_precisions(with_svm, squares, tmp_path):
    _, evaluated, version = with_svm
    status = script("evaluate")(
        *(f"--model_dir={version}", f"--data_dir={squares}", "--split=val"),
        f"--output={tmp_path / 'r.json'}",
    )
    assert status == 0
    served = json.loads((tmp_path / "r.json").read_text())
    assert served["protocol"] == evaluated["protocol"]
    for name in ("AP", "mAP", "CF1", "pointing", "region_iou"):
        assert served[name] == pytest.approx(evaluated[name], abs=1e-6)


@pytest.mark.slow
def test_views_of_a_saved_model_are_refused(with_svm, squares, capsys):
    status = script("evaluate")(
        *(f"--model_dir={with_svm[2]}", f"--data_dir={squares}", "--views=10")
    )
    assert status == 1
    assert (
        "error: A SavedModel is evaluated as it was exported" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_svms_of_other_runs_are_not_exported(with_svm, trained, tmp_path, capsys):
    saved = f"--saved_models={tmp_path}"
    for folders, expected in (
        ([trained[0]], "has no SVM yet"),
        ([with_svm[0], trained[0]], "another number of runs"),
    ):
        assert script("export")("--model_dir", *folders, "--svm", saved) == 1
        (error,) = capsys.readouterr().err.splitlines()
        assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_backbone_are_refused(squares, trained, tmp_path, capsys):
    sentence = fit_error(
        capsys,
        *SMALL_FLAGS,
        f"--data_dir={squares}",
        f"--output_dir={tmp_path / 'run'}",
        f"--weights={trained[0] / 'model.weights.h5'}",
    )
    assert "do not fit small" in sentence


def test_resuming_with_other_settings_names_them(squares, trained, capsys):
    sentence = fit_error(
        capsys,
        *SMALL_FLAGS,
        f"--data_dir={squares}",
        f"--output_dir={trained[0]}",
        "--resume",
        "--epochs=7",
    )
    assert "epochs=7 (was 1)" in sentence


def test_a_run_is_not_overwritten(squares, trained, capsys):
    sentence = fit_error(
        capsys, *SMALL_FLAGS, f"--data_dir={squares}", f"--output_dir={trained[0]}"
    )
    assert "--resume" in sentence


def test_evaluate_refuses_data_with_other_labels_than_the_model(
    trained, tmp_path, capsys
):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "val.csv").write_text("image,labels\na.png,violet\n")
    (tmp_path / "train.csv").write_text("image,labels\na.png,violet\n")
    status = script("evaluate")(
        f"--model_dir={trained[1]}", f"--data_dir={tmp_path}", "--split=val"
    )
    assert status == 1
    assert "labels of the data are not those of the model" in capsys.readouterr().err
