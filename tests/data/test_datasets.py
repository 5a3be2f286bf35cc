"""Tests loading datasets by name, and their default splits."""

import pytest

from ram_tf.data import datasets
from ram_tf.data.readers import coco, csv_folder, digits, tfds_folder, voc


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
            ("voc", "D", 2007, "test", "positive"),
        ),
        (("voc2012", "D"), {}, ("voc", "D", 2012, "train", "unknown")),
        (
            ("voc2012", None, "val"),
            {"manual_dir": "M"},
            ("tfds_folder", "voc2012", "val", None, "M", "unknown"),
        ),
        (("coco", "D", "val"), {"year": 2017}, ("coco", "D", "val", 2017)),
        (("coco", "D", "val"), {}, ("coco", "D", "val", None)),
        (
            ("coco", None, "val"),
            {"year": 2017},
            ("tfds_folder", "coco2017", "val", None, None),
        ),
        (("coco",), {}, ("tfds_folder", "coco2014", "train", None, None)),
        (
            ("csv", "D", "val"),
            {"seed": 2, "split_fraction": (0.5, 0.5, 0)},
            ("csv_folder", "D", "val", (0.5, 0.5, 0), 2),
        ),
    ],
)
def test_each_name_is_loaded_by_its_reader(called, arguments, options, expected):
    datasets.load(*arguments, **options)
    assert called == [expected]


def test_digits_can_be_loaded_by_name():
    split = datasets.load("digits", split="val")
    assert len(split) == 500
    assert split.label_names == digits.LABEL_NAMES


@pytest.mark.parametrize("function", [datasets.load, datasets.default_splits])
def test_an_unknown_name_lists_the_known_ones(function):
    with pytest.raises(ValueError, match="digits, voc2007, voc2012, coco, csv"):
        function("imagenet")


@pytest.mark.parametrize("function", [datasets.load, datasets.default_splits])
def test_csv_needs_a_folder(function):
    with pytest.raises(ValueError, match=r"needs a data_dir"):
        function("csv")


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


def test_every_name_has_default_splits(tmp_path):
    (tmp_path / "data.csv").write_text("image,labels\n")
    for name in datasets.NAMES:
        assert datasets.default_splits(name, tmp_path).report
