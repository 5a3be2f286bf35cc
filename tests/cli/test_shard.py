"""Tests `ram-tf shard`, and that training from its shards is that from the dataset."""

import json
import shutil

import numpy as np
import pytest

from ram_tf.cli import check, command, fit, main, setting_flags, shard
from ram_tf.data.readers import digits
from tests.support.h5_arrays import arrays
from tests.support.paths import ROOT
from tests.support.sharded import write_mixed

# A run on the digits that takes seconds; with region_size, units and so on of a preset.
TINY = (
    "--image_size=40 --crop_margin=8 --regions=2 --region_size=4 --units=32 "
    "--batch_size=8 --pooled_epochs=1 --epochs=1"
).split()
WEIGHTS = "pooled.weights.h5", "model.weights.h5"


def ram(*arguments):
    return main.main([*map(str, arguments)])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def shards(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "shards"
    assert ram("shard", source, "--output_dir", folder) == 0
    return folder


def test_it_says_what_it_has_written_and_how_to_train(source, tmp_path, capsys):
    folder = tmp_path / "shards"
    assert ram("shard", source, "--output_dir", folder, "--shard_mb", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 14 images in 1 shards, ")
    begins = [line.split(":")[0] for line in lines]
    assert begins == ["train", "val", "test", "to train"]
    flags = lines[-1].partition("ram-tf fit ")[2].split()
    settings = setting_flags.from_arguments(fit.parse(flags))
    assert (settings.data.dataset, settings.data.data_dir) == ("shards", str(folder))
    # Once more there is nothing to do.
    assert ram("shard", source, "--output_dir", folder, "--shard_mb", 1) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_a_folder_of_shards_is_recognised_without_a_dataset(shards):
    settings = setting_flags.from_arguments(fit.parse([f"--data_dir={shards}"]))
    assert settings.data.dataset == "shards"
    settings = setting_flags.from_arguments(check.parse([str(shards)]))
    assert settings.data.dataset == "shards"


@pytest.mark.parametrize(
    ("dataset", "units"), [("digits", 256), ("csv", 512), ("voc2007", 512)]
)
def test_the_preset_is_that_of_the_dataset_of_the_shards(
    shards, tmp_path, dataset, units
):
    folder = shutil.copytree(shards, tmp_path / "shards")
    shutil.rmtree(folder / "checksums")
    about = json.loads((folder / "shards.json").read_text())
    (folder / "shards.json").write_text(json.dumps({**about, "dataset": dataset}))
    arguments = fit.parse(["--dataset=shards", f"--data_dir={folder}"])
    assert setting_flags.from_arguments(arguments).attention.units == units


def test_the_check_of_shards_is_that_of_the_dataset(source, shards, capsys):
    tables = []
    for folder in (source, shards):
        assert ram("check", folder) == 0
        tables.append(capsys.readouterr().out.splitlines())
    assert tables[0][1:] == tables[1][1:]
    assert tables[0][0] != tables[1][0]


def test_a_broken_shard_is_one_sentence(shards, tmp_path, capsys):
    folder = shutil.copytree(shards, tmp_path / "shards")
    path = folder / "train-00000.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    # As the installed command does.
    assert command.run(main._main, ["check", str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: A shard is cut off or has changed. Expected ")
    assert error.endswith(f" in {path}\n")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output_dir=out", "--shard_mb=0"], "--shard_mb: expected 1 or more"),
        ([], "required: --output_dir"),
    ],
)
def test_wrong_flags_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        ram("shard", *flags)
    assert message in capsys.readouterr().err


def test_the_commands_of_the_documents_are_accepted():
    lines = (ROOT / "docs" / "training.md").read_text("utf-8").splitlines()
    found = [line.split()[2:] for line in lines if line.startswith("ram-tf shard ")]
    assert found
    for arguments in found:
        setting_flags.from_arguments(shard.parse(arguments))


# `test_sharded_images` shows the same of the pipeline alone.
@pytest.mark.slow
def test_training_on_shards_is_training_on_the_dataset(tmp_path, monkeypatch):
    counts = {"train": 40, "val": 12, "test": 12}
    monkeypatch.setattr(digits, "COUNTS", counts)
    shards = tmp_path / "shards"
    assert ram("shard", "--dataset", "digits", "--output_dir", shards) == 0
    runs = {"dataset": ["--dataset=digits"], "shards": [f"--data_dir={shards}"]}
    for name, flags in runs.items():
        saved = f"--saved_models={tmp_path / name / 'saved'}"
        run = f"--output_dir={tmp_path / name}"
        assert ram("fit", *flags, *TINY, run, saved) == 0
    folders = [tmp_path / name for name in runs]
    for file in WEIGHTS:
        one, other = (arrays(folder / file) for folder in folders)
        assert one.keys() == other.keys()
        assert one
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], name)
    for file in ("step1/history.csv", "step2/history.csv", "images.json"):
        one, other = ((folder / file).read_text() for folder in folders)
        assert one == other, file
    one, other = (json.loads((each / "results.json").read_text()) for each in folders)
    assert one == other
