"""Exported SavedModels: signatures, unreadable images, versions and warm-up."""

import io
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ram_tf.data.images.decoding import MAX_PIXELS, decode_image
from ram_tf.data.images.resizing import centre_crop
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.formats.export import export, serve_bytes, serve_images
from ram_tf.serving.predictor import Predictor
from tests.support.decompression_bombs import BOMBS
from tests.support.full_disk import full_above
from tests.support.lock_holder import at_work
from tests.support.memory_use import Taken
from tests.support.small_settings import SMALL

LABELS = ("red", "green", "blue")
OUTPUTS = {"scores", "probabilities", "regions", "boxes", "region_scores", "valid"}


@pytest.fixture(scope="module")
def run(request, tmp_path_factory):
    """A run of RDAR, or of the model that `of_both` chooses."""
    settings = SMALL.replace(
        model=getattr(request, "param", "rdar"),
        steps=2,
        regions=3,
        starts="anchors",
        max_pixels=10_000,
    )
    return Run.start(tmp_path_factory.mktemp("run"), settings, LABELS)


of_both = pytest.mark.parametrize("run", ["rdar", "rarl"], indirect=True)
slowly_of_both = pytest.mark.parametrize(
    "run", ["rdar", pytest.param("rarl", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture(scope="module")
def model(run):
    built = run_models.build_attention(run, run_models.build_pooled(run, "average"))
    # Different values in all weights, so that swapped weights change the outputs.
    rng = np.random.default_rng(0)
    for variable in built.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape))
    return built


@pytest.fixture(scope="module")
def version(run, model, tmp_path_factory):
    return export(
        run_models.view(run, model), run, tmp_path_factory.mktemp("saved") / "squares"
    )


@pytest.fixture(scope="module")
def encoded(squares):
    return [(squares / f"val{i}.png").read_bytes() for i in range(3)]


def serve(run, model):
    return serve_bytes(run_models.view(run, model), run.config.data.max_pixels)


@of_both
def test_both_signatures_equal_the_keras_model(run, model, version, encoded):
    served = tf.saved_model.load(str(version)).signatures
    images = np.stack([decode_image(e).numpy() for e in encoded])
    expected = serve_images(run_models.view(run, model))(images)
    by_bytes = served["serving_default"](image_bytes=tf.constant(encoded))
    by_images = served["serving_images"](images=tf.constant(images))
    for outputs in (by_bytes, by_images):
        assert set(outputs) == OUTPUTS
        for name in OUTPUTS - {"valid"}:
            np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)


def test_both_signatures_are_the_model_on_the_centre_crop(run, model, version, encoded):
    served = tf.saved_model.load(str(version)).signatures
    images = np.stack([decode_image(e).numpy() for e in encoded])
    assert images.shape[1] == run.config.image.image_size
    expected = model(centre_crop(images.astype("float32"), run.config.image.crop))
    by_bytes = served["serving_default"](image_bytes=tf.constant(encoded))
    by_images = served["serving_images"](images=tf.constant(images))
    for outputs in (by_bytes, by_images):
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=name)


def test_photographs_are_turned_upright_in_the_graph(run, model, encoded):
    note, stored = Image.Exif(), io.BytesIO()
    note[0x0112] = 6  # stored on its side
    Image.open(io.BytesIO(encoded[0])).save(stored, "JPEG", exif=note)
    upright = tf.io.encode_png(decode_image(stored.getvalue())).numpy()
    given = tf.constant([stored.getvalue(), upright, encoded[0]])
    photograph, expected, unturned = serve(run, model)(given)["scores"].numpy()
    np.testing.assert_allclose(photograph, expected, atol=1e-5)
    assert np.abs(photograph - unturned).max() > 1e-3


@of_both
def test_unreadable_images_are_marked_and_do_not_affect_other_rows(run, model, encoded):
    served = tf.function(serve(run, model))
    broken = [b"", b"text", encoded[0][: len(encoded[0]) // 2], b"GIF89a\x01\x00"]
    alone = served(tf.constant(encoded))
    mixed = served(tf.constant([broken[0], encoded[0], *broken[1:], *encoded[1:]]))
    rows = [1, 5, 6]
    expected = np.isin(np.arange(7), rows)
    np.testing.assert_array_equal(mixed["valid"], expected)
    np.testing.assert_allclose(
        tf.gather(mixed["scores"], rows), alone["scores"], atol=1e-6
    )
    assert not np.any(mixed["scores"].numpy()[~expected])


def test_an_image_above_max_pixels_is_not_valid(run, model, encoded):
    large = tf.io.encode_png(tf.zeros([101, 100, 3], tf.uint8)).numpy()
    outputs = serve(run, model)(tf.constant([large, encoded[0]]))
    assert outputs["valid"].numpy().tolist() == [False, True]


@of_both
def test_bombs_take_no_memory_and_do_not_affect_other_rows(run, model, encoded):
    served = tf.function(serve_bytes(run_models.view(run, model), MAX_PIXELS))
    alone = served(tf.constant(encoded[:1]))["scores"]
    bombs = [bomb for bomb, _ in BOMBS.values()]
    taken = Taken()
    mixed = served(tf.constant([encoded[0], *bombs, encoded[0]]))
    assert taken.most < 300
    valid = [True] + [False] * len(bombs) + [True]
    assert mixed["valid"].numpy().tolist() == valid
    for row in (0, -1):
        np.testing.assert_allclose(mixed["scores"][row], alone[0], atol=1e-6)


@of_both
def test_an_empty_batch_gives_no_rows(run, model):
    outputs = tf.function(serve(run, model))(tf.constant([], tf.string))
    assert outputs["scores"].shape == (0, len(LABELS))


@of_both
def test_an_image_of_one_pixel_is_scored(run, model):
    pixel = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()
    outputs = serve(run, model)(tf.constant([pixel]))
    assert outputs["valid"].numpy().all()
    assert np.isfinite(outputs["scores"]).all()


def test_versions_count_up_and_no_other_files_remain(run, model, tmp_path):
    first, second = (
        export(run_models.view(run, model), run, tmp_path / "name") for _ in range(2)
    )
    assert (first.name, second.name) == ("1", "2")
    assert sorted(p.name for p in (tmp_path / "name").iterdir()) == ["1", "2"]


def test_a_version_is_above_all_others(run, model, tmp_path):
    (tmp_path / "7").mkdir()  # those before it were removed
    assert export(run_models.view(run, model), run, tmp_path).name == "8"


def test_folders_of_killed_exports_are_removed_and_of_running_ones_kept(
    run, model, tmp_path
):
    left, ours = tmp_path / "partial-1", tmp_path / f"partial-{os.getpid()}"
    for folder in (left, ours):
        folder.mkdir()
        (folder / "half").touch()
    (tmp_path / "partial-1.lock").touch()
    with at_work(tmp_path / "partial-2.lock"):
        (tmp_path / "partial-2").mkdir()
        version = export(run_models.view(run, model), run, tmp_path)
    assert not (version / "half").exists()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"1", "partial-2", "partial-2.lock"}


def test_a_version_without_room_is_named_and_not_written(run, model, tmp_path):
    with full_above(20_000), pytest.raises(OSError, match="SavedModel cannot") as error:
        export(run_models.view(run, model), run, tmp_path / "name")
    assert str(tmp_path / "name") in str(error.value)
    assert list((tmp_path / "name").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "assets.extra/config.json",
        "assets.extra/views.json",
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ],
)
def test_a_changed_file_of_a_version_is_named(version, tmp_path, name):
    version = shutil.copytree(version, tmp_path / "1")
    path = version / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="changed since it was written") as caught:
        Predictor.load(version)
    assert str(path) in str(caught.value)


def test_the_assets_hold_the_labels_in_order(version):
    text = (version / "assets" / "labels.txt").read_text()
    assert tuple(text.split()) == LABELS


@slowly_of_both
def test_a_savedmodel_runs_without_ram_tf(version, encoded, tmp_path):
    script = tmp_path / "client.py"
    script.write_text(
        "import sys\n"
        "sys.modules['ram_tf'] = None  # an import of it would fail\n"
        "import tensorflow as tf\n"
        f"served = tf.saved_model.load({str(version)!r}).signatures\n"
        f"image = open({str(tmp_path / 'image.png')!r}, 'rb').read()\n"
        "print(served['serving_default'](image_bytes=tf.constant([image]))['scores'])\n"
    )
    (tmp_path / "image.png").write_bytes(encoded[0])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "shape=(1, 3)" in done.stdout


def saved_model_cli(*arguments):
    program = pathlib.Path(sys.executable).with_name("saved_model_cli")
    return subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_saved_model_cli_shows_the_signatures(version):
    # The command that fit.py and the README print.
    signature = ("--tag_set", "serve", "--signature_def", "serving_default")
    shown = saved_model_cli("show", "--dir", version, *signature)
    assert shown.returncode == 0, shown.stderr[-2000:]
    for name in ("image_bytes", *OUTPUTS):
        assert f"['{name}']" in shown.stdout


@slowly_of_both
def test_saved_model_cli_runs_encoded_and_decoded_images(version, encoded, tmp_path):
    np.save(tmp_path / "b.npy", np.array(encoded, object), allow_pickle=True)
    images = np.stack([decode_image(e).numpy() for e in encoded])
    np.save(tmp_path / "x.npy", images)
    results = []
    for signature, given in (
        ("serving_default", f"image_bytes={tmp_path / 'b.npy'}"),
        ("serving_images", f"images={tmp_path / 'x.npy'}"),
    ):
        outdir = tmp_path / signature
        done = saved_model_cli(
            *("run", "--dir", version, "--tag_set", "serve"),
            *("--signature_def", signature, "--inputs", given, "--outdir", outdir),
        )
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(np.load(outdir / "scores.npy"))
    assert results[0].shape == (3, 3)
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)


def test_warm_up_requests_run_both_signatures_at_each_size_of_batch(
    run, model, tmp_path
):
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    warm = export(run_models.view(run, model), run, tmp_path / "tiny", warm_up=True)
    path = warm / "assets.extra" / "tf_serving_warmup_requests"
    signatures, requested = tf.saved_model.load(str(warm)).signatures, []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = logs.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "tiny"
        inputs = {
            name: tf.constant(tf.make_ndarray(value))
            for name, value in request.inputs.items()
        }
        outputs = signatures[request.model_spec.signature_name](**inputs)
        valid = outputs["valid"].numpy()
        assert valid.all()
        requested.append((request.model_spec.signature_name, len(valid)))
    sizes = 1, 2, 4, 8, 16, 32
    both = "serving_default", "serving_images"
    assert requested == [(name, size) for name in both for size in sizes]


def test_warm_up_requests_are_not_written_by_default(version):
    written = sorted(path.name for path in (version / "assets.extra").iterdir())
    assert written == ["checksums", "config.json", "views.json"]
