"""Tests how a folder with csv files is divided into splits."""

import json

import numpy as np
import pytest

from ram_tf.data import datasets
from ram_tf.data.csv_reader import csv_folder

PARTS = ["train", "train", "val", "test"]


def write(folder, name, *lines):
    (folder / name).write_text("\n".join(lines) + "\n")


def marked(column, cells):
    return [
        f"image,labels,{column}",
        *(f"{i}.jpg,cat,{cell}" for i, cell in enumerate(cells)),
    ]


def names(folder, split, **options):
    return csv_folder.load(folder, split, **options).names


@pytest.mark.parametrize("name", ["labels.csv", "train.csv", "mine.csv"])
def test_a_column_of_splits_decides(tmp_path, name):
    write(tmp_path, name, *marked("split", PARTS))
    assert csv_folder.split_names(tmp_path) == ("train", "val", "test")
    assert names(tmp_path, "train") == ("0.jpg", "1.jpg")
    assert names(tmp_path, "val") == ("2.jpg",)
    assert names(tmp_path, "test") == ("3.jpg",)
    (note,) = csv_folder.load(tmp_path, "train").notes
    assert note == f"{name} is divided by its own column: 2 train, 1 val, 1 test"


def test_a_column_of_training_and_validation_has_no_test(tmp_path):
    write(tmp_path, "labels.csv", *marked("is_valid", ["False", "True"]))
    assert datasets.default_splits("csv", tmp_path) == ("train", None, "val")


def test_a_column_in_a_file_of_a_split_moves_its_rows(tmp_path):
    write(tmp_path, "train.csv", *marked("is_valid", ["0", "1"]))
    write(tmp_path, "test.csv", "image,labels", "9.jpg,cat")
    assert [names(tmp_path, split) for split in csv_folder.SPLITS] == [
        ("0.jpg",),
        ("1.jpg",),
        ("9.jpg",),
    ]
    assert "1 train, 1 val" in csv_folder.load(tmp_path, "val").notes[0]


def test_an_image_in_two_files_of_a_split_is_refused(tmp_path):
    write(tmp_path, "train.csv", *marked("split", ["test", "train"]))
    write(tmp_path, "test.csv", "image,labels", "0.jpg,cat")
    with pytest.raises(ValueError, match=r"'test' are in several files.*'0\.jpg'"):
        csv_folder.load(tmp_path, "test")


def test_earlier_runs_pass_over_the_column_and_divide_at_random(tmp_path):
    write(tmp_path, "labels.csv", *marked("split", ["test"] * 50))
    split = csv_folder.load(tmp_path, "train", division="random")
    order = np.random.default_rng(0).permutation(50)
    assert split.names == tuple(f"{i}.jpg" for i in sorted(order[:40]))
    assert "1 columns of labels.csv are passed over: split" in split.notes
    assert csv_folder.split_names(tmp_path, "random") == csv_folder.SPLITS


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_label_of_a_single_csv_is_trained_and_validated(tmp_path, seed):
    labels = ["cat"] * 46 + ["cat;fox", "owl", "fox", "owl"]
    lines = [f"{i}.jpg,{label}" for i, label in enumerate(labels)]
    write(tmp_path, "labels.csv", "image,labels", *lines)
    for split in ("train", "val"):
        found = csv_folder.load(tmp_path, split, seed=seed)
        assert (found.labels > 0).any(0).all(), split


@pytest.mark.parametrize("name", ["valid.csv", "validation.csv"])
def test_the_validation_file_has_several_names(tmp_path, name):
    write(tmp_path, "train.csv", "image,labels", "1.jpg,cat")
    write(tmp_path, name, "image,labels", "2.jpg,cat")
    assert names(tmp_path, "val") == ("2.jpg",)


def test_files_that_are_not_read_are_named(tmp_path):
    write(tmp_path, "train.csv", "image,labels", "1.jpg,cat")
    write(tmp_path, "more.csv", "image,labels", "2.jpg,cat")
    assert csv_folder.load(tmp_path, "train").notes == ("not read: more.csv",)


def test_labels_of_other_rows_with_another_separator_are_refused(tmp_path):
    write(tmp_path, "train.csv", "image,labels", '1.jpg,"red,blue"', "2.jpg,red")
    write(tmp_path, "val.csv", "image,red,blue", "3.jpg,1,0")
    with pytest.raises(ValueError, match=r"row 2 of .*train\.csv seems to be several"):
        csv_folder.load(tmp_path, "val")


def test_an_export_of_label_studio_is_divided_like_a_csv(tmp_path):
    tasks = [
        {
            "id": i,
            "data": {"image": f"/data/upload/1/0123abcd-{i}.jpg"},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "rectanglelabels",
                            "value": {
                                **{"x": 0, "y": 0, "width": 50, "height": 25},
                                "rectanglelabels": ["cat"],
                            },
                        }
                    ]
                }
            ],
        }
        for i in range(10)
    ]
    write(tmp_path, "project-1-at-2024.json", json.dumps(tasks))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "3.jpg").touch()
    splits = [datasets.load("csv", tmp_path, split) for split in csv_folder.SPLITS]
    assert [len(split) for split in splits] == [8, 1, 1]
    assert {"photos/3.jpg", "4.jpg"} < set().union(*(split.names for split in splits))
    for split in splits:
        np.testing.assert_allclose(split.boxes[0]["cat"], [[0, 0, 0.25, 0.5]])


def test_other_json_does_not_replace_a_csv(tmp_path):
    write(tmp_path, "labels.csv", "image,labels", *(f"{i}.jpg,cat" for i in range(10)))
    write(tmp_path, "train.json", "{}")
    assert len(names(tmp_path, "train")) == 8
