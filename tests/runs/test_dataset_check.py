"""Tests what the check of a dataset counts and finds before training."""

import json
import shutil

import numpy as np
import pytest

from ram_tf.data import datasets
from ram_tf.runs.config import Config
from ram_tf.runs.splits import dataset_check, run_splits
from tests.support.flawed_folder import break_files, write_flawed


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    return write_flawed(tmp_path_factory.mktemp("flawed"))


@pytest.fixture(scope="module")
def checked(flawed):
    return dataset_check.check(settings(flawed))


def settings(folder, **changes):
    return Config.of(dataset="csv", data_dir=str(folder), **changes)


def test_images_positives_and_boxes_are_counted_as_numpy_counts_them(flawed, checked):
    for found, name in zip(checked.splits, ("train", "val", "test"), strict=True):
        split = datasets.load("csv", flawed, name)
        assert (found.split, found.images) == (name, len(split))
        counts = np.count_nonzero(split.labels == 1, axis=0)
        assert found.positives == dict(zip(split.label_names, counts, strict=True))
        assert found.unknown == np.count_nonzero(split.labels == -1)
        assert found.boxes == sum(len(b) for d in split.boxes for b in d.values())
    assert [found.use for found in checked.splits] == ["training", "validation", "test"]


def test_labels_without_positives_are_named(checked):
    missing = [split.without_positives for split in checked.splits]
    assert missing == [["fox"], ["dog", "fox"], ["fox"]]


def test_boxes_outside_and_empty_ones_are_named_by_image(checked):
    train, val, test = checked.splits
    assert (train.outside, train.empty) == (["train0.jpg"], ["train1.jpg"])
    assert (val.outside, val.empty) == ([], [])
    assert (test.outside, test.empty) == (["test0.jpg"], [])


def test_images_in_two_splits_are_named(checked):
    shared = {(each.use, each.other): each for each in checked.shared}
    assert shared["validation", "training"].near == [("val3.jpg", "train0.jpg")]
    assert shared["validation", "training"].exact == []
    assert shared["test", "training"].exact == [("test1.jpg", "train2.jpg")]
    assert shared["test", "training"].near == [("test2.jpg", "train4.jpg")]
    assert shared["test", "validation"].exact == []
    assert shared["test", "validation"].near == []


def test_what_training_only_tells_is_not_refused(checked, flawed):
    assert checked.refusals == []
    run_splits.load(settings(flawed))


def test_a_tenth_held_out_is_compared_with_the_rest(flawed, tmp_path):
    folder = shutil.copytree(flawed, tmp_path / "data")
    (folder / "val.csv").unlink()
    (folder / "test.csv").rename(folder / "val.csv")
    for i in range(9):
        shutil.copy(folder / "train9.jpg", folder / f"train{i}.jpg")
    result = dataset_check.check(settings(folder))
    train, selection, test = result.splits
    assert (train.images, selection.images, test.images) == (9, 1, 5)
    assert [split.is_held_out for split in result.splits] == [False, True, False]
    assert len(result.shared[0].exact) == 1


def test_unreadable_images_are_named_with_their_reason_and_refused(flawed, tmp_path):
    folder = shutil.copytree(flawed, tmp_path / "data")
    break_files(folder)
    result = dataset_check.check(settings(folder))
    train, val, test = result.splits
    assert [split.images for split in result.splits] == [9, 3, 5]
    (empty,), (text,) = train.unreadable, val.unreadable
    assert (empty["image"], empty["reason"]) == ("train3.jpg", "empty")
    assert text["image"] == "val0.jpg"
    assert "text" in text["detail"]
    assert not test.unreadable
    assert len(result.refusals) == 2
    with pytest.raises(ValueError, match="Images cannot be read") as refused:
        run_splits.load(settings(folder))
    assert str(refused.value) == result.refusals[0]
    skipped = settings(folder, skip_unreadable=True)
    assert dataset_check.check(skipped).refusals == []
    described = dataset_check.describe(skipped, run_splits.load(skipped))
    assert [len(split.unreadable) for split in described.splits] == [1, 1, 0]


def test_all_that_training_refuses_is_gathered(flawed, tmp_path):
    folder = shutil.copytree(flawed, tmp_path / "data")
    for i in range(10):
        (folder / f"train{i}.jpg").unlink()
    shutil.copy(folder / "test.csv", folder / "val.csv")
    result = dataset_check.check(settings(folder))
    unreadable, positives, shared = result.refusals
    assert "10 of 10: train0.jpg" in unreadable
    assert "no positives to train on" in positives
    assert "share images" in shared
    # One image under one name is that refusal, and no duplicate.
    assert result.shared[2].exact == []


def test_a_missing_split_is_an_error(flawed):
    with pytest.raises(FileNotFoundError, match="no split 'other'"):
        dataset_check.check(settings(flawed, report_split="other"))


def test_a_check_is_the_same_after_json(checked):
    read = json.loads(json.dumps(checked.to_json()))
    for stored, split in zip(read["splits"], checked.splits, strict=True):
        missing = stored.pop("without_positives")
        assert dataset_check.SplitCheck(**stored) == split
        assert missing == split.without_positives
    assert read["shared"][1]["exact"] == [["test1.jpg", "train2.jpg"]]
    assert read["refusals"] == []


def test_a_check_of_the_same_data_finds_the_same(flawed, checked):
    assert dataset_check.check(settings(flawed)) == checked
