"""Tests loading datasets by name, and their default splits."""

import json

import pytest

from ram_tf.data import datasets
from ram_tf.data.csv_reader import csv_folder
from ram_tf.data.readers import coco, digits, tfds_folder
from ram_tf.data.voc_reader import voc
from tests.support.sharded import write_mixed, write_shards
from tests.support.voc_exports import write_beside, write_listed
from tests.support.voc_folder import write_split


@pytest.fixture
def called(monkeypatch):
    """Replaces the readers and collects the name and arguments of each call."""
    calls = []
    for module in (coco, csv_folder, digits, tfds_folder, voc):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(
            module, "load", lambda *args, name=name: calls.append((name, *args))
        )
    return calls


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("digits", None, "val"), {"seed": 3}, ("digits", "val", 3)),
        (
            ("voc2007", "D", "test"),
            {"difficult": "positive"},
            ("voc", "D", 2007, "test", "positive", "drop", (0.8, 0.1, 0.1), 0),
        ),
        (
            ("voc", "D", "val"),
            {"negatives": "keep", "split_fraction": (0.5, 0.5, 0), "seed": 2},
            ("voc", "D", None, "val", "unknown", "keep", (0.5, 0.5, 0), 2),
        ),
        (
            ("voc2012", "D"),
            {},
            ("voc", "D", 2012, "train", "unknown", "drop", (0.8, 0.1, 0.1), 0),
        ),
        (
            ("voc2012", None, "val"),
            {"manual_dir": "M"},
            ("tfds_folder", "voc2012", "val", None, "M", "unknown"),
        ),
        (
            ("coco", "D", "val"),
            {"year": 2017, "negatives": "keep", "seed": 2},
            ("coco", "D", "val", 2017, "keep", (0.8, 0.1, 0.1), 2),
        ),
        (
            ("coco", "D", "val"),
            {"split_fraction": (0.5, 0.5, 0)},
            ("coco", "D", "val", None, "drop", (0.5, 0.5, 0), 0),
        ),
        (
            ("coco", None, "val"),
            {"year": 2017},
            ("tfds_folder", "coco2017", "val", None, None),
        ),
        (("coco",), {}, ("tfds_folder", "coco2014", "train", None, None)),
        (
            ("csv", "D", "val"),
            {"seed": 2, "split_fraction": (0.5, 0.5, 0)},
            ("csv_folder", "D", "val", (0.5, 0.5, 0), 2, "stratified"),
        ),
    ],
)
def test_each_name_is_loaded_by_its_reader(called, arguments, options, expected):
    datasets.load(*arguments, **options)
    assert called == [expected]


def test_negatives_cannot_be_kept_without_a_folder():
    with pytest.raises(ValueError, match="or --data_dir"):
        datasets.load("coco", negatives="keep")


def test_digits_can_be_loaded_by_name():
    split = datasets.load("digits", split="val")
    assert len(split) == 500
    assert split.label_names == digits.LABEL_NAMES


@pytest.mark.parametrize("function", [datasets.load, datasets.default_splits])
def test_an_unknown_name_lists_the_known_ones(function):
    with pytest.raises(ValueError, match="digits, voc2007, voc2012, voc, coco, csv"):
        function("imagenet")


@pytest.mark.parametrize("name", ["csv", "voc"])
@pytest.mark.parametrize("function", [datasets.load, datasets.default_splits])
def test_own_data_need_a_folder(function, name):
    with pytest.raises(ValueError, match=r"needs a data_dir"):
        function(name)


def test_digits_take_no_folder(tmp_path):
    with pytest.raises(ValueError, match="embedded"):
        datasets.load("digits", tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", ("train", "val", "test")),
        ("voc2007", ("trainval", None, "test")),
        ("voc2012", ("train", None, "val")),
        ("coco", ("train", None, "val")),
    ],
)
def test_default_splits_test_on_images_not_used_for_validation(name, expected):
    assert datasets.default_splits(name) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train", "val", "test"], ("train", "val", "test")),
        (["train", "val"], ("train", None, "val")),
        (["train", "test"], ("train", None, "test")),
        (["data"], ("train", "val", "test")),
    ],
)
def test_default_splits_of_csv_depend_on_the_files(tmp_path, files, expected):
    for name in files:
        (tmp_path / f"{name}.csv").write_text("image,labels\n")
    assert datasets.default_splits("csv", tmp_path) == expected


@pytest.mark.parametrize("name", ["voc", "voc2007", "voc2012"])
@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (["train", "val", "test"], ("train", "val", "test")),
        (["train", "valid"], ("train", None, "val")),
        (["trainval", "test"], ("trainval", None, "test")),
        (["trainval", "train", "val"], ("train", None, "val")),
        (["default"], ("train", "val", "test")),
    ],
)
def test_default_splits_of_own_voc_folders_depend_on_the_lists(
    tmp_path, name, lists, expected
):
    write_listed(tmp_path, {split: {split: ["vest"]} for split in lists})
    assert datasets.default_splits(name, tmp_path) == expected


def test_default_splits_of_vocs_own_labels_are_those_of_its_year(tmp_path):
    for split in ("train", "val", "test"):
        write_split(tmp_path, split, {split: {"cat": 1}})
    assert datasets.default_splits("voc2007", tmp_path) == ("trainval", None, "test")
    assert datasets.default_splits("voc2012", tmp_path) == ("train", None, "val")
    assert datasets.default_splits("voc", tmp_path) == ("train", "val", "test")


def test_label_names_are_known_without_images(tmp_path):
    write_listed(tmp_path, {"train": {"a": ["vest"]}, "val": {"b": ["tie"]}})
    assert datasets.label_names("voc2007", tmp_path) == ("tie", "vest")
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    content = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "x"}]}
    (annotations / "instances_train2017.json").write_text(json.dumps(content))
    assert datasets.label_names("coco", tmp_path) == ("x",)


def test_every_name_has_default_splits(tmp_path):
    (tmp_path / "data.csv").write_text("image,labels\n")
    write_beside(tmp_path, {"a": ["vest"]})
    write_shards(write_mixed(tmp_path / "mixed"), tmp_path / "shards")
    for name in datasets.NAMES:
        folder = tmp_path / "shards" if name == "shards" else tmp_path
        assert datasets.default_splits(name, folder).report
