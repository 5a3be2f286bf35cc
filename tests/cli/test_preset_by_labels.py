"""Tests that the paper's preset is for its labels, and that others begin with ours."""

import argparse
import json

import pytest

from ram_tf.cli import setting_flags
from ram_tf.data import paper_labels
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESETS
from tests.support.voc_exports import write_beside, write_listed
from tests.support.voc_folder import write_split


def parse(*arguments):
    parser = argparse.ArgumentParser()
    setting_flags.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    return setting_flags.from_arguments(parsed), parsed.preset


def write_categories(folder, names):
    """Writes annotations of COCO that have categories only."""
    content = {"images": [], "annotations": []}
    content["categories"] = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    (folder / "annotations").mkdir()
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(content))


def own_voc(folder):
    write_listed(folder, {"train": {"a": ["vest"], "b": ["tie"]}})
    return "voc2007", 2


def own_voc_beside(folder):
    write_beside(folder, {"a": ["vest"]})
    return "voc2007", 1


def own_coco(folder):
    write_categories(folder, ["vest", "tie", "hat"])
    return "coco", 3


@pytest.mark.parametrize("write", [own_voc, own_voc_beside, own_coco])
def test_other_labels_begin_with_photographs_and_are_told(tmp_path, capsys, write):
    dataset, count = write(tmp_path)
    given = f"--dataset={dataset}", f"--data_dir={tmp_path}"
    settings, name = parse(*given)
    assert name == "photographs"
    told = {"dataset": dataset, "data_dir": str(tmp_path)}
    assert settings == Config.of(**PRESETS["photographs"], **told)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"the {count} labels of {tmp_path} are not the paper's: the settings begin "
        "with --preset photographs (--preset paper: the paper's)"
    )
    settings, name = parse(*given, "--preset=paper")
    assert name == "paper"
    assert settings == Config.of(**PRESETS["paper"], **told)
    assert not capsys.readouterr().err


def papers_voc(folder):
    write_split(folder, "trainval", {"a": {"cat": 1}})
    return "voc2007"


def papers_coco(folder):
    write_categories(folder, paper_labels.COCO)
    return "coco"


def papers_voc_of_annotations(folder):
    write_listed(folder, {"train": {"a": paper_labels.voc.LABEL_NAMES}})
    return "voc2007"


@pytest.mark.parametrize(
    "write", [papers_voc, papers_voc_of_annotations, papers_coco, lambda _: "coco"]
)
def test_the_papers_labels_begin_with_the_papers_preset(tmp_path, capsys, write):
    dataset = write(tmp_path)
    _, name = parse(f"--dataset={dataset}", f"--data_dir={tmp_path}")
    assert name == "paper"
    assert not capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["voc", "voc2012", "csv"])
def test_own_datasets_begin_with_photographs_in_silence(tmp_path, capsys, dataset):
    own_voc(tmp_path)
    _, name = parse(f"--dataset={dataset}", f"--data_dir={tmp_path}")
    assert name == "photographs"
    assert not capsys.readouterr().err
