"""Tests of check.py, and of the table that fit.py begins with."""

import json
import shutil

import pytest

from ram_tf.training import two_steps
from tests.support.flawed_folder import break_files, write_flawed
from tests.support.scripts import SMALL_FLAGS, script


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    return write_flawed(tmp_path_factory.mktemp("flawed"))


def test_the_table_has_a_row_a_split_and_a_line_a_finding(flawed, capsys):
    assert script("check")("--dataset=csv", f"--data_dir={flawed}") == 0
    printed = capsys.readouterr().out.splitlines()
    rows = {line.split(":")[0]: line.split() for line in printed[2:5]}
    assert rows["training"] == "training: train 10 3 10 1 0 3 1 1".split()
    assert rows["validation"] == "validation: val 4 3 3 2 0 0 0 0".split()
    assert rows["test"] == "test: test 5 3 5 1 0 2 1 0".split()
    assert any(line.split() == ["cat", "5", "3", "2"] for line in printed)
    for finding in (
        "validation: 2 of 3 labels have no positives: dog, fox",
        "training: 1 of 3 boxes leave their image: train0.jpg",
        "training: 1 of 3 boxes are empty: train1.jpg",
        "test: 2 images are in training, too, 1 the same file and 1 nearly the same "
        "picture: test1.jpg is train2.jpg, test2.jpg is like train4.jpg",
    ):
        assert finding in printed


def test_refused_data_end_with_status_1_and_the_reason(flawed, tmp_path, capsys):
    folder = shutil.copytree(flawed, tmp_path / "data")
    break_files(folder)
    assert script("check")(folder) == 1
    printed = capsys.readouterr().out
    assert "training: train3.jpg cannot be read: empty" in printed
    assert "validation: val0.jpg cannot be read: " in printed
    assert "fit refuses this: Images cannot be read" in printed
    assert script("check")(folder, "--skip_unreadable") == 0


def test_json_goes_to_a_file_or_in_place_of_the_table(flawed, tmp_path, capsys):
    path = tmp_path / "found.json"
    assert script("check")(flawed, "--json", path) == 0
    assert "training: train" in capsys.readouterr().out
    assert script("check")(flawed, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(path.read_text("utf-8"))


def test_missing_data_are_one_sentence(tmp_path, capsys):
    assert script("check")(tmp_path / "nothing") == 1
    error = capsys.readouterr().err
    assert "error: There is no folder" in error
    assert "Traceback" not in error


def test_a_folder_is_given_once(flawed, capsys):
    with pytest.raises(SystemExit):
        script("check")(flawed, f"--data_dir={flawed}")
    assert "give the folder once" in capsys.readouterr().err


def test_training_begins_with_the_table(flawed, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise ValueError("here training begins")

    monkeypatch.setattr(two_steps, "train", stop)
    flags = [*SMALL_FLAGS, f"--data_dir={flawed}", f"--output_dir={tmp_path / 'run'}"]
    assert script("fit")(*flags, f"--saved_models={tmp_path / 'saved'}") == 1
    printed = capsys.readouterr()
    assert "here training begins" in printed.err
    lines = printed.out.splitlines()
    assert lines[2].split() == "training: train 10 3 10 1 0 3 1 1".split()
    assert any(line.startswith("test: 2 images are in training, too") for line in lines)
    # Printed when the splits are read, and not again.
    assert "labels: fox" in printed.err
    assert not any(line.startswith("training: 1 of 3 labels") for line in lines)
