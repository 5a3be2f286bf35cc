"""Tests the reader of COCO folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ram_tf.data.readers import coco
from tests.support.paths import SHARED


def write_coco(root, split, annotations=None):
    """Writes three images, the last of them without labels."""
    content = {
        "images": [
            {"id": i, "file_name": f"{i:03d}.jpg", "width": 40, "height": 20}
            for i in (7, 3, 9)
        ],
        # Unordered and with gaps, as in COCO.
        "categories": [
            {"id": 90, "name": "apple"},
            {"id": 1, "name": "person"},
            {"id": 13, "name": "stop sign"},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 90, "bbox": [4, 6, 8, 10], "iscrowd": 0},
            {"image_id": 7, "category_id": 90, "bbox": [0, 0, 40, 20], "iscrowd": 0},
            {"image_id": 3, "category_id": 13, "bbox": [0, 0, 4, 4], "iscrowd": 1},
        ]
        if annotations is None
        else annotations,
    }
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content))
    (root / split).mkdir()
    for i in (7, 3, 9):
        Image.new("RGB", (40, 20)).save(root / split / f"{i:03d}.jpg")
    return path


@pytest.fixture
def folder(tmp_path):
    write_coco(tmp_path, "train2017")
    return tmp_path


def test_labels_are_in_the_order_of_category_ids(folder):
    split = coco.load(folder, "train")
    assert split.label_names == ("person", "stop sign", "apple")
    np.testing.assert_array_equal(split.labels, [[0, 0, 1], [0, 1, 0]])
    assert split.labels.dtype == np.int8
    assert split.names == ("train2017/007.jpg", "train2017/003.jpg")
    assert all(Path(image).is_file() for image in split.images)


def test_images_without_labels_are_dropped_and_counted(folder):
    split = coco.load(folder, "train")
    assert not any("009" in name for name in split.names)
    assert split.notes == ("1 of 3 images without any label: dropped.",)


def test_a_crowd_counts_as_a_label(folder):
    assert coco.load(folder, "train").labels[1, 1] == 1


def test_boxes_are_fractions_in_tensorflows_order(folder):
    boxes = coco.load(folder, "train").boxes
    np.testing.assert_allclose(
        boxes[0]["apple"], [[0.3, 0.1, 0.8, 0.3], [0, 0, 1, 1]], rtol=1e-6
    )
    assert boxes[0].keys() == {"apple"}


@pytest.mark.parametrize(
    ("split", "year"), [("train", None), ("train", 2017), ("train2017", None)]
)
def test_the_year_is_found_in_the_folder_or_given(folder, split, year):
    assert len(coco.load(folder, split, year)) == 2


def test_a_folder_of_two_years_needs_a_year(folder):
    write_coco(folder, "train2014")
    with pytest.raises(ValueError, match="2014 and 2017"):
        coco.load(folder, "train")
    assert coco.load(folder, "train", 2014).names[0] == "train2014/007.jpg"


def test_a_year_that_contradicts_the_split_is_refused(folder):
    with pytest.raises(ValueError, match="contradict"):
        coco.load(folder, "train2017", 2014)


@pytest.mark.parametrize(
    ("split", "year", "shown"),
    [
        ("val", None, "annotations/instances_valYEAR.json"),
        ("train", 2014, "annotations/instances_train2014.json"),
    ],
)
def test_a_missing_split_shows_the_tree(folder, split, year, shown):
    with pytest.raises(FileNotFoundError, match=shown):
        coco.load(folder, split, year)


def test_missing_images_show_the_tree(tmp_path):
    write_coco(tmp_path, "train2017")
    (tmp_path / "train2017").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"train2017/\*\.jpg"):
        coco.load(tmp_path, "train")


def test_annotations_of_unknown_images_are_refused(tmp_path):
    write_coco(
        tmp_path,
        "val2017",
        [{"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    )
    with pytest.raises(ValueError, match=r"instances_val2017\.json cannot be read"):
        coco.load(tmp_path, "val")


def test_a_truncated_json_file_is_refused(folder):
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        coco.load(folder, "train")


def test_a_split_without_labels_is_refused(tmp_path):
    write_coco(tmp_path, "val2017", [])
    with pytest.raises(ValueError, match="no images with labels"):
        coco.load(tmp_path, "val")


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real photographs in ../shared")
@pytest.mark.parametrize(("split", "count"), [("train", 126), ("val", 64)])
def test_the_real_photographs_are_all_there(split, count):
    found = coco.load(SHARED / "data" / "coco", split)
    assert len(found) == count
    assert len(found.label_names) == 80
    assert found.label_names[0] == "person"
    assert found.label_names[-1] == "toothbrush"
    assert all(Path(image).is_file() for image in found.images)


@pytest.mark.parametrize("name", ["../../secret.jpg", "/secret.jpg", 7])
def test_file_names_do_not_leave_the_data_folder(folder, name):
    path = folder / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="does not lie in the data folder"):
        coco.load(folder, "train")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("annotations", 0, "bbox"), [10**400, 0, 1, 1]),
        (("annotations", 0, "bbox"), [float("nan"), 0, 1, 1]),
        (("categories", 0, "name"), 7),
        (("categories", 0, "name"), "two\nlines"),
    ],
)
def test_invalid_boxes_and_label_names_are_refused(folder, where, value):
    path = folder / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    place, row, key = where
    content[place][row][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="Received"):
        coco.load(folder, "train")


def test_deeply_nested_json_is_refused(folder):
    (folder / "annotations" / "instances_train2017.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="cannot be read"):
        coco.load(folder, "train")
