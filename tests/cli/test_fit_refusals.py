"""Tests that fit.py refuses unusable data, settings and folders with one sentence."""

import shutil

import pytest
from PIL import Image

from tests.support.scripts import SMALL_FLAGS, fit_error, script


@pytest.fixture
def copied(squares, tmp_path):
    return shutil.copytree(squares, tmp_path / "data")


def truncated(folder):
    path = folder / "train3.png"
    path.write_bytes(path.read_bytes()[:60])


def text(folder):
    (folder / "train3.png").write_text("no image")


def empty(folder):
    (folder / "train3.png").write_bytes(b"")


def too_large(folder):
    Image.new("RGB", (400, 400)).save(folder / "train3.png")


@pytest.mark.parametrize("spoil", [truncated, text, empty, too_large])
def test_an_image_that_cannot_be_read_stops_fit_and_is_named(
    copied, tmp_path, capsys, spoil
):
    spoil(copied)
    sentence = fit_error(
        capsys,
        *SMALL_FLAGS,
        f"--data_dir={copied}",
        f"--output_dir={tmp_path / 'run'}",
        "--max_pixels=100000",
    )
    assert "1 of 40: train3.png" in sentence
    assert not (tmp_path / "run").exists()


def unknown_label(folder):
    (folder / "labels.txt").write_text("red\ngreen\n")
    return r"blue"


def no_positives(folder):
    rows = [f"train{i}.png," for i in range(40)]
    (folder / "train.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    return "no positives to train on"


def no_images(folder):
    (folder / "val.csv").write_text("image,labels\n")
    return "no images|without images|empty|no rows"


def no_csv(folder):
    for path in folder.glob("*.csv"):
        path.unlink()
    return "train.csv"


@pytest.mark.parametrize("spoil", [unknown_label, no_positives, no_images, no_csv])
def test_a_folder_without_usable_training_data_is_refused(
    copied, tmp_path, capsys, spoil
):
    expected = spoil(copied)
    assert (
        script("fit")(
            *SMALL_FLAGS, f"--data_dir={copied}", f"--output_dir={tmp_path / 'run'}"
        )
        == 1
    )
    error = capsys.readouterr().err
    assert "error: " in error
    assert any(word in error for word in expected.split("|"))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--image_size=64", "more than the crop margin of 64"),
        ("--regions=0", "1 or more"),
        ("--weights=missing.h5", "weights file does not exist"),
        ("--units=3", "units is out of range"),
    ],
)
def test_settings_out_of_range_are_refused(squares, tmp_path, capsys, flag, expected):
    flags = [f for f in SMALL_FLAGS if not f.startswith("--crop_margin")]
    flags += [] if "image_size" in flag else ["--crop_margin=8"]
    sentence = fit_error(
        capsys, *flags, f"--data_dir={squares}", f"--output_dir={tmp_path}/run", flag
    )
    assert expected in sentence


@pytest.mark.parametrize("name", ["fit", "ablate"])
def test_a_removed_flag_is_refused_with_one_sentence(name, squares, capsys):
    data = ("--dataset=csv", f"--data_dir={squares}", "--spatial_prior")
    assert script(name)(*data, "--search_epochs", "3") == 1
    assert capsys.readouterr().err == (
        "error: --spatial_prior was removed in version 0.2: regions are now found "
        "by the content of the image. Expected the command without it. Received: "
        "--spatial_prior\n"
    )


def test_an_output_folder_that_cannot_be_written_is_named(squares, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    sentence = fit_error(
        capsys,
        *SMALL_FLAGS,
        f"--data_dir={squares}",
        f"--output_dir={tmp_path}/file/run",
    )
    assert f"{tmp_path}/file" in sentence


def test_a_saved_models_folder_that_cannot_be_written_is_named_before_training(
    squares, tmp_path, capsys
):
    (tmp_path / "file").write_text("in the way")
    sentence = fit_error(
        capsys,
        *(*SMALL_FLAGS, f"--data_dir={squares}", f"--output_dir={tmp_path}/run"),
        f"--saved_models={tmp_path}/file/saved",
    )
    assert f"Expected room and permission for {tmp_path}/file/saved" in sentence
    assert not (tmp_path / "run").exists()
