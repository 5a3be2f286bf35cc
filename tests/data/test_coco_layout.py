"""Tests finding the annotations and images of COCO as tools export it."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from ram_tf.data import datasets
from ram_tf.data.readers import coco

NAMES = ("1.jpg", "2.jpg", "3.jpg", "4.jpg")


def write(root, path, folder, names=NAMES, files=None):
    """Writes annotations of images in a folder, each with the label "cat"."""
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 8, "height": 8}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 4, 4]}
            for i in range(len(names))
        ],
    }
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(content))
    for name in names if files is None else files:
        file = root / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)


def below(split, root):
    """Returns the images' paths below the folder, all of which exist."""
    assert all(Path(image).is_file() for image in split.images)
    paths = tuple(Path(image).relative_to(root).as_posix() for image in split.images)
    assert split.names == paths
    return paths


LAYOUTS = [
    ("annotations/instances_{}2017.json", "{}2017"),
    ("annotations/instances_{}2023.json", "{}2023"),
    ("annotations/instances_{}2017.json", "images/{}2017"),
    ("annotations/instances_{}2017.json", "images"),
    ("annotations/instances_{}.json", "{}"),
    ("annotations/instances_{}.json", "images/{}"),
    ("annotations/instances_{}.json", "images"),
    ("annotations/{}.json", "{}"),
    ("annotations/{}_annotations.coco.json", "{}"),
    ("{}.json", "images"),
    ("{}/_annotations.coco.json", "{}"),
    ("{}/annotations.json", "{}/images"),
    ("{}/result.json", "{}/images"),
    ("{}/labels.json", "{}/data"),
    ("{}/annotations/instances_default.json", "{}/images"),
    ("{}/annotations/instances_default.json", "{}/images/default"),
    ("{}/anything.json", "{}"),
]


@pytest.mark.parametrize(("path", "folder"), LAYOUTS)
def test_each_split_has_its_own_annotations(tmp_path, path, folder):
    for name, files in (("train", NAMES[:3]), ("val", NAMES[3:])):
        write(tmp_path, path.format(name), folder.format(name), files)
    for name, files in (("train", NAMES[:3]), ("val", NAMES[3:])):
        found = below(coco.load(tmp_path, name), tmp_path)
        assert found == tuple(f"{folder.format(name)}/{file}" for file in files)
    assert datasets.default_splits("coco", tmp_path) == ("train", None, "val")


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("valid", "val"),
        ("validation", "val"),
        ("Validation", "val"),
        ("Train", "train"),
    ],
)
@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("{}/_annotations.coco.json", "{}"),
        ("annotations/instances_{}.json", "images/{}"),
    ],
)
def test_splits_have_the_names_that_tools_give_them(
    tmp_path, path, folder, written, asked
):
    write(tmp_path, path.format(written), folder.format(written))
    found = below(coco.load(tmp_path, asked), tmp_path)
    assert found[0] == f"{folder.format(written)}/1.jpg"


def test_an_exported_test_split_is_reported_on(tmp_path):
    for name in ("train", "valid", "test"):
        write(tmp_path, f"{name}/_annotations.coco.json", name)
    assert datasets.default_splits("coco", tmp_path) == ("train", "val", "test")


def test_cocos_own_layout_goes_on_to_report_on_val(tmp_path):
    for name in ("train2017", "val2017", "test2017"):
        write(tmp_path, f"annotations/instances_{name}.json", name)
    assert datasets.default_splits("coco", tmp_path) == ("train", None, "val")
    assert datasets.default_splits("coco") == ("train", None, "val")


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("result.json", "images"),
        ("_annotations.coco.json", "."),
        ("labels.json", "data"),
        ("annotations.json", "JPEGImages"),
        ("my export.json", "images"),
    ],
)
def test_one_file_for_all_images_is_divided_and_told(tmp_path, path, folder):
    names = tuple(f"{i}.jpg" for i in range(20))
    write(tmp_path, path, folder, names)
    assert datasets.default_splits("coco", tmp_path) == ("train", "val", "test")
    parts = [coco.load(tmp_path, name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [16, 2, 2]
    found = [name for part in parts for name in below(part, tmp_path)]
    prefix = "" if folder == "." else f"{folder}/"
    assert sorted(found) == sorted(f"{prefix}{name}" for name in names)
    note = parts[1].notes[0]
    assert note == (
        f"2 of 20 images of {tmp_path / path}, which is divided by --split_fraction "
        "into train, val and test"
    )
    halves = coco.load(tmp_path, "test", split_fraction=(0.5, 0, 0.5), seed=1)
    assert len(halves) == 10


def test_a_test_with_negatives_has_no_training_images_of_a_run_without(tmp_path):
    write(tmp_path, "result.json", "images", tuple(f"{i}.jpg" for i in range(40)))
    content = json.loads((tmp_path / "result.json").read_text())
    content["annotations"] = content["annotations"][:20]
    (tmp_path / "result.json").write_text(json.dumps(content))
    trained = set(coco.load(tmp_path, "train", negatives="drop").names)
    tested = set(coco.load(tmp_path, "test", negatives="keep").names)
    assert trained
    assert not trained & tested


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("images\\1.jpg", "images/1.jpg"),
        ("images\\7/1.jpg", "images/1.jpg"),  # the project's number
        ("..\\..\\label-studio\\media\\upload\\4\\1.jpg", "images/1.jpg"),
        ("..\\label\\1.jpg", "images/1.jpg"),
        ("/home/me/pictures/1.jpg", "images/1.jpg"),
        ("C:\\Users\\me\\1.jpg", "images/1.jpg"),
        ("https://some.where/data/1.jpg", "images/1.jpg"),
        ("/data/local-files/?d=1.jpg", "images/1.jpg"),
        ("./day 1/1.jpg", "images/day 1/1.jpg"),
        ("day 1\\1.jpg", "images/day 1/1.jpg"),
    ],
)
def test_an_image_is_found_by_the_last_parts_of_its_path(tmp_path, written, file):
    write(tmp_path, "train.json", ".", (written, "2.jpg"), (file, "images/2.jpg"))
    split = coco.load(tmp_path, "train")
    assert below(split, tmp_path) == (file, "images/2.jpg")


def test_paths_may_begin_above_the_folder_of_the_split(tmp_path):
    names = tuple(f"train2017/{name}" for name in NAMES)
    write(tmp_path, "annotations/instances_train2017.json", ".", names)
    assert below(coco.load(tmp_path, "train"), tmp_path) == names


def test_images_of_equal_name_in_two_folders_stay_apart(tmp_path):
    names = ("a/1.jpg", "b/1.jpg", "1.jpg")
    write(tmp_path, "train.json", "images", names)
    found = below(coco.load(tmp_path, "train"), tmp_path)
    assert found == tuple(f"images/{name}" for name in names)


def test_images_that_would_become_one_file_are_refused(tmp_path):
    write(tmp_path, "train.json", "images", ("a/1.jpg", "b/1.jpg"), ("1.jpg",))
    expected = r"one file.*1\.jpg for image 0 \(a/1\.jpg\), image 1 \(b/1\.jpg\)"
    with pytest.raises(ValueError, match=expected):
        coco.load(tmp_path, "train")


def test_an_image_does_not_take_the_file_of_another_one(tmp_path):
    names = ("1.jpg", "b/1.jpg")
    write(tmp_path, "train.json", "images", names, ("1.jpg",))
    split = coco.load(tmp_path, "train")
    assert split.names == ("images/1.jpg", "images/b/1.jpg")
    assert not Path(split.images[1]).exists()  # reported as missing later


def test_a_missing_image_stays_in_its_folder(tmp_path):
    write(tmp_path, "train/_annotations.coco.json", "train", NAMES, NAMES[:2])
    split = coco.load(tmp_path, "train")
    assert split.names == tuple(f"train/{name}" for name in NAMES)


def test_the_folder_with_most_of_the_images_is_taken(tmp_path):
    write(tmp_path, "annotations/instances_train.json", "images")
    (tmp_path / "train").mkdir()
    (tmp_path / "images/1.jpg").rename(tmp_path / "train/1.jpg")
    split = coco.load(tmp_path, "train")
    assert split.names == tuple(f"images/{name}" for name in NAMES)


def test_several_files_of_one_split_are_refused(tmp_path):
    write(tmp_path, "train/_annotations.coco.json", "train")
    write(tmp_path, "annotations/instances_train.json", "train")
    expected = "annotations/instances_train.json, train/_annotations.coco.json"
    with pytest.raises(ValueError, match=re.escape(expected)):
        coco.load(tmp_path, "train")


def test_a_missing_split_names_the_files_that_are_there(tmp_path):
    write(tmp_path, "train/_annotations.coco.json", "train")
    with pytest.raises(FileNotFoundError, match=r"no split 'val'(.|\n)*train/_annota"):
        coco.load(tmp_path, "val")


def test_a_year_that_was_asked_for_is_not_left_out(tmp_path):
    write(tmp_path, "train/_annotations.coco.json", "train")
    with pytest.raises(FileNotFoundError, match="instances_train2014"):
        coco.load(tmp_path, "train", 2014)


def test_without_a_folder_of_images_the_places_are_listed(tmp_path):
    write(tmp_path, "result.json", ".", files=())
    with pytest.raises(FileNotFoundError, match=r"no images of(.|\n)*, images"):
        coco.load(tmp_path, "train")
