"""Tests of the commands that `fit` prints for a new model."""

import pathlib
import shlex
import sys

import pytest

from ram_tf.serving.run_examples import Examples, how_to_try
from tests.support.paths import ROOT


def test_the_printed_commands_quote_file_names_with_spaces(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "scripts" / "fit.py")])
    version, out = tmp_path / "my model" / "1", tmp_path / "my out"
    files = Examples(*(tmp_path / f"a {name}" for name in ("p.png", "b.npy", "i.png")))
    commands = how_to_try(version, files, out).split("try next:")[1]
    show, run, predict = map(shlex.split, commands.strip().splitlines())
    for command in (show, run):
        assert pathlib.Path(command[0]).is_file()
        assert command[2:4] == ["--dir", str(version)]
    assert run[-2:] == ["--inputs", f"image_bytes={files.npy}"]
    assert pathlib.Path(predict[1]).samefile(ROOT / "scripts" / "predict.py")
    given = ["--model_dir", str(version), "--output_dir", str(out), str(files.image)]
    assert predict[2:] == given


@pytest.mark.parametrize(
    ("door", "expected"),
    [
        ("bin/ram-tf", ["bin/ram-tf", "predict"]),
        ("ram_tf/__main__.py", ["-m", "ram_tf", "predict"]),
        ("bin/pytest", ["-m", "ram_tf", "predict"]),
    ],
)
def test_predict_is_proposed_by_the_door_that_was_used(
    tmp_path, monkeypatch, door, expected
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / door)])
    files = Examples(*(tmp_path / name for name in ("p.png", "b.npy", "i.png")))
    last = how_to_try(tmp_path / "m" / "1", files, tmp_path / "o").splitlines()[-1]
    words = shlex.split(last)
    assert words[words.index("--model_dir") - len(expected) :][: len(expected)] == (
        expected
    )
