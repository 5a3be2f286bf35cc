"""A run's folder: started, resumed, never half written; models made from it."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ram_tf.data.split import Split
from ram_tf.metrics.calibration import Calibration
from ram_tf.models import losses
from ram_tf.runs import run_models, weights_file
from ram_tf.runs.config import FORMAT, Config
from ram_tf.runs.presets import PRESETS
from ram_tf.runs.run import Run
from ram_tf.storage.atomic_files import write_with_checksum
from tests.support.lock_holder import at_work

NAMES = ("cat", "dog", "fish")
TINY = Config.of(
    dataset="digits",
    image_size=40,
    crop_margin=8,
    backbone="small",
    weights="none",
    regions=2,
    region_size=4,
    region_pooling="max",
    units=12,
    starts="anchors",
    loss="bce",
)


def change(**changes):
    return TINY.replace(**changes)


def test_a_new_run_writes_its_settings(tmp_path):
    run = Run.start(tmp_path / "runs" / "new", TINY, NAMES)
    assert run == Run.open(tmp_path / "runs" / "new")
    assert (run.config, run.label_names) == (TINY, NAMES)
    written = {path.name for path in run.folder.iterdir()}
    assert written == {"config.json", "checksums", "lock"}


def begun(folder):
    """A run of which something is trained."""
    run = Run.start(folder, TINY, NAMES)
    run.pooled_weights.touch()
    return run


def test_a_run_of_which_nothing_is_trained_may_begin_with_other_settings(tmp_path):
    Run.start(tmp_path, change(weights="those of another backbone"), NAMES)
    assert Run.start(tmp_path, TINY, NAMES) == Run.open(tmp_path)


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path):
    run = begun(tmp_path)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    ours = [
        tmp_path / f"partial-{killed.pid}-config.json",
        tmp_path / "step1" / f"partial-{os.getpid()}-x.npz",
    ]
    theirs = [
        tmp_path / f"partial-{os.getppid()}-svm.npz",  # an evaluation is at work
        tmp_path / "partial-eclipse.jpg",
        tmp_path / "saved" / "partial-7" / "x",
    ]
    for path in ours + theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Run.start(run.folder, TINY, NAMES, resume=True)
    assert [path.exists() for path in ours] == [False, False]
    assert all(path.exists() for path in theirs)


def learnt(labels=(1, 0, 1)):
    images = tuple(f"{i}.png" for i in range(len(labels)))
    column = np.array(labels, "int8")[:, None]
    return Split(images, images, np.tile(column, (1, len(NAMES))), NAMES)


def test_a_run_goes_on_with_its_own_images_and_labels_alone(tmp_path):
    run, selection = begun(tmp_path), learnt((0, 1))
    run.record_training_images(learnt(), selection)
    run.record_training_images(learnt(), selection)
    for train in (learnt((1, 0, 1, 1)), learnt((1, 0, -1))):
        with pytest.raises(ValueError, match=r"began with.* others for train$"):
            run.record_training_images(train, selection)
    with pytest.raises(ValueError, match="others for train and selection"):
        run.record_training_images(selection, learnt())


def test_a_run_of_which_nothing_is_trained_may_learn_from_other_images(tmp_path):
    run = Run.start(tmp_path, TINY, NAMES)
    run.record_training_images(learnt(), learnt((0, 1)))
    run.record_training_images(learnt((1, 1)), learnt((0, 1)))
    run.pooled_weights.touch()
    with pytest.raises(ValueError, match="others for train"):
        run.record_training_images(learnt(), learnt((0, 1)))


def test_a_calibration_that_was_asked_for_and_is_missing_is_told(tmp_path):
    run = Run.start(tmp_path, change(calibrate=True), NAMES)
    with pytest.raises(FileNotFoundError, match=r"calibration\.json.*--resume"):
        _ = run.calibration


@pytest.mark.parametrize(
    ("backbone", "size", "margin", "said"),
    [
        # The nearest crops are 0 and 16, 416 and 448, 32 and 40 pixels.
        ("vgg16", 70, 64, "Expected 80, so that vgg16's cells of 16 pixels"),
        ("mobilenet_v2", 500, 64, "Expected 480 or 512, so that"),
        ("small", 40, 1, "Expected 33 or 41, so that small's cells of 8 pixels"),
    ],
)
def test_images_that_cells_do_not_tile_are_refused(
    tmp_path, backbone, size, margin, said
):
    settings = change(image_size=size, crop_margin=margin, backbone=backbone)
    with pytest.raises(ValueError, match=f"{said}.*Received: image_size={size}"):
        Run.start(tmp_path / "run", settings, NAMES)
    assert not (tmp_path / "run").exists()


def test_views_whose_images_cells_do_not_tile_are_refused(tmp_path):
    run = Run.start(tmp_path, change(crop_margin=4, image_size=36), NAMES)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    with pytest.raises(ValueError, match=r"Expected 36 or 44, .*image_size=40"):
        run_models.view(run, model, sizes=[36, 40])
    # Crops of 32 pixels are tiled, images of 36 are not.
    assert run_models.view(run, model, count=5).sizes == (36,)
    with pytest.raises(ValueError, match=r"multiple of 8 .*--views_from image.*=36"):
        run_models.view(run, model, count=5, source="features")


@pytest.mark.parametrize("name", PRESETS)
def test_cells_tile_the_images_of_every_preset(name):
    for backbone in ("small", "vgg16", "mobilenet_v2"):
        settings = Config.of(**{"backbone": backbone, **PRESETS[name]})
        settings.check_cells(whole_images=True)


def test_a_folder_that_holds_a_run_is_refused_without_resume(tmp_path):
    begun(tmp_path)
    with pytest.raises(FileExistsError, match=r"holds a run already.*--resume"):
        Run.start(tmp_path, TINY, NAMES)


def test_resume_takes_up_the_same_run(tmp_path):
    run = begun(tmp_path)
    written = (tmp_path / "config.json").read_text()
    assert Run.start(tmp_path, TINY, list(NAMES), resume=True) == run
    assert (tmp_path / "config.json").read_text() == written


def test_resume_starts_where_nothing_was_begun(tmp_path):
    Run.start(tmp_path, TINY, NAMES, resume=True)
    assert Run.open(tmp_path).config == TINY


def test_resume_with_other_settings_names_them(tmp_path):
    begun(tmp_path)
    with pytest.raises(ValueError, match="only be resumed with its own") as refused:
        Run.start(tmp_path, change(units=13, seed=4), NAMES, resume=True)
    assert str(refused.value).endswith("Received: units=13 (was 12), seed=4 (was 0)")
    assert Run.open(tmp_path).config == TINY


@pytest.mark.parametrize("names", [("dog", "cat", "fish"), ("cat", "dog")])
def test_resume_with_other_labels_is_refused(tmp_path, names):
    begun(tmp_path)
    with pytest.raises(ValueError, match="label_names="):
        Run.start(tmp_path, TINY, names, resume=True)


@pytest.mark.parametrize(
    ("number", "said"), [(None, "train again"), (FORMAT + 1, "newer version")]
)
def test_a_run_of_another_version_is_refused_and_left_as_it_is(tmp_path, number, said):
    begun(tmp_path)
    path = tmp_path / "config.json"
    content = {**json.loads(path.read_text()), "format": number}
    if number is None:
        del content["format"]
    with write_with_checksum(path) as temporary:
        temporary.write_text(json.dumps(content))
    before = path.read_text()
    for take in (Run.open, lambda folder: Run.start(folder, TINY, NAMES, resume=True)):
        with pytest.raises(ValueError, match=f"{said}.*Received: {path}"):
            take(tmp_path)
    assert path.read_text() == before


def test_a_run_of_before_of_which_nothing_is_trained_begins_anew(tmp_path):
    (tmp_path / "config.json").write_text('{"label_names": ["cat"]}')
    assert Run.start(tmp_path, TINY, NAMES) == Run.open(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match="no folder of a run") as refused:
            Run.open(folder)
        assert str(folder) in str(refused.value)


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be written\. Expected .*/file/run"):
        Run.start(tmp_path / "file" / "run", TINY, NAMES)


@pytest.mark.parametrize(
    "name", ["config.json", "calibration.json", "pooling.txt", "model.weights.h5"]
)
def test_a_changed_file_is_named_and_not_used(tmp_path, name):
    run = Run.start(tmp_path, change(pooling="best"), NAMES)
    with write_with_checksum(run.folder / "pooling.txt") as temporary:
        temporary.write_text("max\n")
    with write_with_checksum(run.calibration_file) as temporary:
        temporary.write_text(Calibration(2.0, (0.25,) * 3).to_json(NAMES))
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    weights_file.save(model, run.model_weights)
    assert (run.calibration.temperature, run.pooling) == (2.0, "max")
    # Another number, but a number: nothing else would see it.
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="changed since it was written") as refused:
        _ = run_models.load_attention(Run.open(tmp_path)), run.calibration
    assert str(refused.value).endswith(f"Received: {tmp_path / name}")


def test_a_run_that_another_process_is_at_work_on_is_refused(tmp_path):
    with at_work(tmp_path / "lock") as process:
        with pytest.raises(BlockingIOError, match=f"held by process {process.pid}"):
            Run.start(tmp_path, TINY, NAMES, resume=True)
        assert not (tmp_path / "config.json").exists()
    assert Run.start(tmp_path, TINY, NAMES, resume=True).config == TINY


def randomise(built):
    rng = np.random.default_rng(0)
    built.set_weights([rng.normal(0, 0.3, w.shape) for w in built.get_weights()])
    return built


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    return rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")


def assert_same_outputs(first, second):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"region_pooling": "flatten", "pooling": "flatten", "pooled_units": 12},
        {"starts": "whole", "precision": "mixed_bfloat16"},
        {"model": "rarl"},
        {"model": "rarl", "starts": "whole", "precision": "mixed_bfloat16"},
        {"model": "rarl", "locations": "random"},
        {"model": "rarl", "locations": "anchors"},
    ],
)
def test_trained_models_come_back_from_the_folder(tmp_path, images, changes):
    run = Run.start(tmp_path, change(**changes), NAMES)
    pooled = randomise(run_models.build_pooled(run, run.pooling))
    pooled.save_weights(run.pooled_weights)
    model = randomise(run_models.build_attention(run, pooled))
    model.save_weights(run.model_weights)
    again = Run.open(tmp_path)
    assert_same_outputs(run_models.load_attention(again)(images), model(images))
    # The backbone is shared with the attention model, whose weights came last.
    pooled.load_weights(run.pooled_weights)
    assert_same_outputs(run_models.load_pooled(again)(images), pooled(images))


def test_a_run_that_was_not_finished_says_so(tmp_path):
    run = Run.start(tmp_path, TINY, NAMES)
    for load in (run.load_pooled, run.load_model):
        with pytest.raises(FileNotFoundError, match="no trained weights yet"):
            load()


@pytest.mark.slow
def test_with_the_papers_head_w_fx_begins_as_fc6(tmp_path, vgg16_with_top, capsys):
    network, path = vgg16_with_top
    paper = {**PRESETS["paper"], "backbone": "vgg16", "weights": path}
    run = Run.start(tmp_path, Config.of(image_size=128, **paper), NAMES)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, run.pooling),
    )
    feature, fc6 = model.attention.region_lstm.feature, network.get_layer("fc1")
    np.testing.assert_array_equal(feature.kernel, fc6.kernel)
    np.testing.assert_array_equal(feature.bias, fc6.bias)
    assert "W_fx begins as the hidden layer of vgg16" in capsys.readouterr().out


@pytest.mark.parametrize("regions", [1, 3, 5])
def test_regions_start_in_the_middle_and_at_their_anchors(tmp_path, images, regions):
    run = Run.start(tmp_path, change(regions=regions, start_scale=0.4), NAMES)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    theta = model(images)["regions"].numpy()[0]
    scales = theta[:, [0, 1], [0, 1]]
    np.testing.assert_allclose(scales, np.full((regions, 2), 0.4))
    np.testing.assert_allclose(theta[0, :, 2], [0, 0])
    distance = np.linalg.norm(theta[1:, :, 2], axis=-1)
    np.testing.assert_allclose(distance, np.sqrt(0.5), rtol=1e-6)


@pytest.mark.parametrize("locations", ["learnt", "anchors"])
def test_rarl_starts_in_the_middle_and_at_the_anchors_of_its_steps(
    tmp_path, images, locations
):
    settings = change(model="rarl", steps=5, locations=locations)
    run = Run.start(tmp_path, settings, NAMES)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    regions = model(images)["regions"].numpy()
    assert regions.shape == (2, 45, 2, 3)
    expected = [[0, 0], *losses.anchors(5)]
    np.testing.assert_allclose(regions[0, ::9, :, 2], expected, atol=1e-6)


def test_settings_of_the_agent_reach_it(tmp_path):
    settings = change(model="rarl", steps=3, sigma=0.3, episodes=4, seed=7)
    run = Run.start(tmp_path, settings, NAMES)
    agent = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    ).attention.get_config()
    expected = {"num_steps": 3, "sigma": 0.3, "episodes": 4, "seed": 7}
    assert agent.items() >= expected.items()


@pytest.mark.parametrize("pooled_units", [0, 12])
def test_pooled_head_start_scores_as_step_1_does(tmp_path, images, pooled_units):
    settings = change(
        head_start="pooled",
        pooled_units=pooled_units,
        units=32,
        regions=1,
        starts="whole",
        region_size=4,
    )
    run = Run.start(tmp_path, settings, NAMES)
    pooled = run_models.build_pooled(run, "max")
    model = run_models.build_attention(run, pooled)
    # The one region is the whole map, which the sampler sees at 4x4 cells as it is.
    before, after = pooled(images)["scores"], model(images)["scores"]
    assert np.linalg.norm(after - before) < 0.03 * np.linalg.norm(before)


def test_feature_head_start_takes_the_hidden_layer_of_step_1(tmp_path):
    settings = change(
        head_start="feature",
        pooling="flatten",
        region_pooling="flatten",
        pooled_units=12,
    )
    run = Run.start(tmp_path, settings, NAMES)
    pooled = run_models.build_pooled(run, "flatten")
    for given, taken in zip(
        pooled.feature.get_weights(),
        run_models.build_attention(
            run, pooled
        ).attention.region_lstm.feature.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(given, taken)


def test_precision_holds_for_the_model_and_for_nothing_else(tmp_path):
    before = keras.config.dtype_policy()
    run = Run.start(tmp_path, change(precision="mixed_bfloat16"), NAMES)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    assert model.attention.region_lstm.feature.compute_dtype == "bfloat16"
    assert model.backbone(np.zeros((1, 32, 32, 3))).dtype == "bfloat16"
    assert keras.config.dtype_policy() == before


def test_boxes_are_mapped_back_from_the_crop(tmp_path, images):
    run = Run.start(tmp_path, change(regions=1, start_scale=1.0), NAMES)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    # The crop of 32 out of 40 pixels begins at 0.1.
    np.testing.assert_allclose(
        model(images)["boxes"][0, 0], [0.1, 0.1, 0.9, 0.9], atol=1e-6
    )
