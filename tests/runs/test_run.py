"""Tests how the folder of a run is started, resumed and opened."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ram_tf.data.split import Split
from ram_tf.metrics.calibration import Calibration
from ram_tf.runs import run_models, weights_file
from ram_tf.runs.config import FORMAT, Config
from ram_tf.runs.presets import PRESETS
from ram_tf.runs.run import Run
from ram_tf.storage.atomic_files import write_with_checksum
from tests.support.lock_holder import at_work
from tests.support.tiny_settings import NAMES, TINY, change


def test_a_new_run_writes_its_settings(tmp_path):
    run = Run.start(tmp_path / "runs" / "new", TINY, NAMES)
    assert run == Run.open(tmp_path / "runs" / "new")
    assert (run.config, run.label_names) == (TINY, NAMES)
    written = {path.name for path in run.folder.iterdir()}
    assert written == {"config.json", "checksums", "lock"}


def started(folder):
    """A run that has trained weights."""
    run = Run.start(folder, TINY, NAMES)
    run.pooled_weights.touch()
    return run


def test_a_run_without_trained_weights_may_start_with_other_settings(tmp_path):
    Run.start(tmp_path, change(weights="those of another backbone"), NAMES)
    assert Run.start(tmp_path, TINY, NAMES) == Run.open(tmp_path)


def resume(run, **changes):
    return Run.start(run.folder, run.config.replace(**changes), NAMES, resume=True)


def test_a_relative_path_of_earlier_versions_is_that_of_today(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "others"):
        (tmp_path / name).mkdir()
    run = Run.start("run", change(dataset="csv", data_dir="mine"), NAMES)
    run.pooled_weights.touch()
    resume(run, data_dir=str(tmp_path / "mine"))
    with pytest.raises(ValueError, match=r"data_dir='.*others' \(was 'mine'"):
        resume(run, data_dir=str(tmp_path / "others"))


def test_a_run_may_be_resumed_after_its_data_have_moved(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    new.mkdir()
    settings = change(dataset="csv", data_dir=str(old))
    run = Run.start(tmp_path / "run", settings, NAMES)
    run.pooled_weights.touch()
    assert resume(run, data_dir=str(new)).config.data.data_dir == str(new)
    old.mkdir()
    with pytest.raises(ValueError, match="its own settings"):
        resume(run, data_dir=str(new))


def test_the_same_command_resumes_a_run_of_an_earlier_default(tmp_path):
    earlier = change(max_pixels=50_000_000)
    run = Run.start(tmp_path, earlier, NAMES)
    run.pooled_weights.touch()
    resume(run, max_pixels=Config().data.max_pixels)
    with pytest.raises(ValueError, match="max_pixels=9 "):
        resume(run, max_pixels=9)


def test_only_temporary_files_of_killed_processes_are_removed(tmp_path):
    run = started(tmp_path)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    ours = [
        tmp_path / f"partial-{killed.pid}-config.json",
        tmp_path / "step1" / f"partial-{os.getpid()}-x.npz",
    ]
    theirs = [
        tmp_path / f"partial-{os.getppid()}-svm.npz",  # of a running evaluation
        tmp_path / "partial-eclipse.jpg",
        tmp_path / "saved" / "partial-7" / "x",
    ]
    for path in ours + theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Run.start(run.folder, TINY, NAMES, resume=True)
    assert [path.exists() for path in ours] == [False, False]
    assert all(path.exists() for path in theirs)


def split(labels=(1, 0, 1)):
    images = tuple(f"{i}.png" for i in range(len(labels)))
    column = np.array(labels, "int8")[:, None]
    return Split(images, images, np.tile(column, (1, len(NAMES))), NAMES)


def test_a_run_is_resumed_only_with_its_own_images_and_labels(tmp_path):
    run, selection = started(tmp_path), split((0, 1))
    run.record_training_images(split(), selection)
    run.record_training_images(split(), selection)
    for train in (split((1, 0, 1, 1)), split((1, 0, -1))):
        with pytest.raises(ValueError, match=r"began with.* others for train$"):
            run.record_training_images(train, selection)
    with pytest.raises(ValueError, match="others for train and selection"):
        run.record_training_images(selection, split())


@pytest.mark.parametrize("image", ["1.png", "9.png"])
def test_images_that_a_run_was_trained_or_validated_on_are_not_tested_on(
    tmp_path, image
):
    run, selection = started(tmp_path), split((0, 1))
    selection = dataclasses.replace(selection, names=("8.png", "9.png"))
    run.record_training_images(split(), selection)
    new = dataclasses.replace(split((1, 0)), names=("5.png", "6.png"), name="new")
    run.check_not_trained_on(new, run.config)
    seen = dataclasses.replace(new, names=("5.png", image))
    with pytest.raises(ValueError, match=f"1 of 2 of the split new, such as {image}"):
        run.check_not_trained_on(seen, run.config)


def test_a_run_without_trained_weights_may_start_with_other_images(tmp_path):
    run = Run.start(tmp_path, TINY, NAMES)
    run.record_training_images(split(), split((0, 1)))
    run.record_training_images(split((1, 1)), split((0, 1)))
    run.pooled_weights.touch()
    with pytest.raises(ValueError, match="others for train"):
        run.record_training_images(split(), split((0, 1)))


def test_a_missing_calibration_is_refused(tmp_path):
    run = Run.start(tmp_path, change(calibrate=True), NAMES)
    with pytest.raises(FileNotFoundError, match=r"calibration\.json.*--resume"):
        _ = run.calibration


@pytest.mark.parametrize(
    ("backbone", "size", "margin", "expected"),
    [
        # The nearest crops are 0 and 16, 416 and 448, 32 and 40 pixels.
        ("vgg16", 70, 64, "Expected 80, so that vgg16's cells of 16 pixels"),
        ("mobilenet_v2", 500, 64, "Expected 480 or 512, so that"),
        ("small", 40, 1, "Expected 33 or 41, so that small's cells of 8 pixels"),
    ],
)
def test_images_that_cells_do_not_tile_are_refused(
    tmp_path, backbone, size, margin, expected
):
    settings = change(image_size=size, crop_margin=margin, backbone=backbone)
    with pytest.raises(ValueError, match=f"{expected}.*Received: image_size={size}"):
        Run.start(tmp_path / "run", settings, NAMES)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_cells_tile_the_images_of_every_preset(name):
    for backbone in ("small", "vgg16", "mobilenet_v2"):
        settings = Config.of(**{"backbone": backbone, **PRESETS[name]})
        settings.check_cells(whole_images=True)


def test_a_folder_that_holds_a_run_is_refused_without_resume(tmp_path):
    started(tmp_path)
    with pytest.raises(FileExistsError, match=r"holds a run already.*--resume"):
        Run.start(tmp_path, TINY, NAMES)


def test_resume_opens_the_same_run(tmp_path):
    run = started(tmp_path)
    written = (tmp_path / "config.json").read_text()
    assert Run.start(tmp_path, TINY, list(NAMES), resume=True) == run
    assert (tmp_path / "config.json").read_text() == written


def test_resume_starts_a_new_run_in_an_empty_folder(tmp_path):
    Run.start(tmp_path, TINY, NAMES, resume=True)
    assert Run.open(tmp_path).config == TINY


def test_resume_with_other_settings_names_them(tmp_path):
    started(tmp_path)
    with pytest.raises(ValueError, match="only be resumed with its own") as refused:
        Run.start(tmp_path, change(units=13, seed=4), NAMES, resume=True)
    assert str(refused.value).endswith("Received: units=13 (was 12), seed=4 (was 0)")
    assert Run.open(tmp_path).config == TINY


@pytest.mark.parametrize("names", [("dog", "cat", "fish"), ("cat", "dog")])
def test_resume_with_other_labels_is_refused(tmp_path, names):
    started(tmp_path)
    with pytest.raises(ValueError, match="label_names="):
        Run.start(tmp_path, TINY, names, resume=True)


@pytest.mark.parametrize(
    ("number", "expected"), [(None, "train again"), (FORMAT + 1, "newer version")]
)
def test_a_run_of_another_version_is_refused_and_left_unchanged(
    tmp_path, number, expected
):
    started(tmp_path)
    path = tmp_path / "config.json"
    content = {**json.loads(path.read_text()), "format": number}
    if number is None:
        del content["format"]
    with write_with_checksum(path) as temporary:
        temporary.write_text(json.dumps(content))
    before = path.read_text()
    for open_run in (
        Run.open,
        lambda folder: Run.start(folder, TINY, NAMES, resume=True),
    ):
        with pytest.raises(ValueError, match=f"{expected}.*Received: {path}"):
            open_run(tmp_path)
    assert path.read_text() == before


def test_an_old_run_without_trained_weights_is_started_again(tmp_path):
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
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    weights_file.save(model, run.model_weights)
    assert (run.calibration.temperature, run.pooling) == (2.0, "max")
    # The changed content may still be valid, so only the checksum detects it.
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="changed since it was written") as refused:
        _ = run_models.load_attention(Run.open(tmp_path)), run.calibration
    assert str(refused.value).endswith(f"Received: {tmp_path / name}")


def test_a_run_that_another_process_trains_is_refused(tmp_path):
    with at_work(tmp_path / "lock") as process:
        with pytest.raises(BlockingIOError, match=f"held by process {process.pid}"):
            Run.start(tmp_path, TINY, NAMES, resume=True)
        assert not (tmp_path / "config.json").exists()
    assert Run.start(tmp_path, TINY, NAMES, resume=True).config == TINY


def test_a_run_is_resumed_with_the_division_that_it_began_with(tmp_path):
    started(tmp_path / "new")
    assert Run.division_of(tmp_path / "new", change(division="random")) == "stratified"
    assert Run.division_of(tmp_path / "none", change(division="random")) == "random"
    path = tmp_path / "new" / "config.json"
    content = json.loads(path.read_text())
    del content["data"]["division"]  # as an earlier version wrote it
    with write_with_checksum(path) as temporary:
        temporary.write_text(json.dumps(content))
    assert Run.division_of(tmp_path / "new", TINY) == "random"
