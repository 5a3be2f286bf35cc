"""`ram-tf demo` and `predict` with the model that comes with the package."""

import json
import shutil

import PIL.Image
import pytest

from ram_tf.cli import demo, main, predict
from ram_tf.serving import supplied_model
from tests.support.batch_inputs import write_model
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def model(squares, tmp_path_factory):
    return write_model(squares, tmp_path_factory.mktemp("model"))


@pytest.fixture
def supplied(model, tmp_path, monkeypatch):
    """A place of supplied things with the package's pictures and two small models."""
    folder = tmp_path / "supplied"
    shutil.copytree(supplied_model.FOLDER / "pictures", folder / "pictures")
    for version in ("9", "10"):
        shutil.copytree(model, folder / "photographs" / version)
    monkeypatch.setattr(supplied_model, "FOLDER", folder)
    return folder


@pytest.fixture
def without_model(supplied):
    shutil.rmtree(supplied / "photographs")


def test_the_demo_draws_two_pictures(supplied, tmp_path, capsys):
    out = tmp_path / "out"
    assert demo.main(["--output_dir", str(out)]) == 0
    drawn = sorted(out.iterdir())
    assert [path.name for path in drawn] == ["astronaut.png", "chelsea.png"]
    printed = capsys.readouterr().out
    for path in drawn:
        with PIL.Image.open(path) as picture:
            assert min(picture.size) >= 300
        assert str(path) in printed


def test_predict_takes_the_highest_version_and_says_so_in_a_line(
    supplied, squares, capsys
):
    assert predict.main([str(squares / "val0.png")]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["valid"]
    (line,) = (x for x in shown.err.splitlines() if x.startswith("model: "))
    assert str(supplied / "photographs" / "10") in line


@pytest.mark.usefixtures("without_model")
@pytest.mark.parametrize("arguments", [["demo"], ["predict", "a.jpg"]])
def test_without_a_model_a_sentence_says_what_to_give(arguments, capsys):
    assert main.main(arguments) == 1
    (sentence,) = (x for x in capsys.readouterr().err.splitlines() if "error: " in x)
    assert sentence.startswith("error: No model comes with this installation.")
    assert "--model_dir" in sentence


def test_a_server_needs_the_folder_of_its_own_model(capsys):
    with pytest.raises(SystemExit):
        predict.parse(["--url", "http://localhost:8501/v1/models/a:predict", "a.jpg"])
    assert "--url needs the --model_dir" in capsys.readouterr().err


def test_supplied_pictures_are_small_and_name_their_licence():
    pictures = supplied_model.pictures()
    assert len(pictures) == 2
    stated = (supplied_model.FOLDER / "pictures" / "README.md").read_text()
    for path in pictures:
        assert path.stat().st_size <= 100_000
        (row,) = (x for x in stated.splitlines() if path.name in x)
        assert row.endswith(("| CC0 |", "| public domain |"))


def test_saved_models_lead_to_the_supplied_versions():
    lead = ROOT / "saved_models" / supplied_model.NAME
    assert lead.resolve() == (supplied_model.FOLDER / supplied_model.NAME).resolve()


def test_no_text_of_the_supplied_model_names_a_folder_of_a_computer():
    for path in supplied_model.FOLDER.rglob("*"):
        if path.suffix in (".json", ".txt", ".md", ".pb"):
            content = path.read_bytes()
            for root in ("/home/", "/tmp/", "/Users/", str(ROOT.parent)):
                assert root.encode() not in content, path
