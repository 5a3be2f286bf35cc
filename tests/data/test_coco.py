"""Tests the reader of COCO folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ram_tf.data.images.decoding import decode_image
from ram_tf.data.readers import coco
from tests.support.image_files import encode
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


def change(folder, place, row, **values):
    """Changes values of an entry of the split's annotations."""
    path = folder / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content[place][row].update(values)
    path.write_text(json.dumps(content))


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
    assert split.notes == (
        "1 of 3 images without any label: dropped (--negatives keep keeps them).",
    )


def test_images_without_labels_are_kept_as_negatives(folder):
    split = coco.load(folder, "train", negatives="keep")
    assert split.names[2] == "train2017/009.jpg"
    np.testing.assert_array_equal(split.labels, [[0, 0, 1], [0, 1, 0], [0, 0, 0]])
    assert split.boxes[2] == {}
    assert split.notes == ()


def test_a_split_of_negatives_alone_can_be_kept(tmp_path):
    write_coco(tmp_path, "val2017", [])
    split = coco.load(tmp_path, "val", negatives="keep")
    assert split.labels.tolist() == [[0, 0, 0]] * 3
    assert split.boxes is None


def test_an_unknown_policy_on_negatives_is_refused(folder):
    with pytest.raises(ValueError, match=r"one of: drop, keep\. Received: negatives="):
        coco.load(folder, "train", negatives="some")


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


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("image_id", 12345, "images"), ("category_id", 4, "categories")],
)
def test_an_annotation_of_what_is_not_listed_is_named_and_left_out(
    folder, key, value, kind
):
    change(folder, "annotations", 1, id=99, **{key: value})
    split = coco.load(folder, "train")
    np.testing.assert_array_equal(split.labels, [[0, 0, 1], [0, 1, 0]])
    assert len(split.boxes[0]["apple"]) == 1
    note = split.notes[0]
    assert note.startswith(f"1 of 3 annotations are of {kind} that are not listed")
    assert "annotation 99 of image" in note
    assert str(value) in note


def test_annotations_that_are_all_of_unknown_images_are_refused(tmp_path):
    unknown = {"id": 8, "image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1]}
    write_coco(tmp_path, "val2017", [unknown])
    for negatives in coco.NEGATIVES:
        with pytest.raises(ValueError, match=r"such as annotation 8 of image 5"):
            coco.load(tmp_path, "val", negatives=negatives)


def test_an_id_of_two_images_is_refused(folder):
    change(folder, "images", 2, id=7)
    with pytest.raises(ValueError, match=r"one ID.*7 for '007\.jpg' and '009\.jpg'"):
        coco.load(folder, "train")


def test_an_id_of_two_categories_is_refused(folder):
    change(folder, "categories", 2, id=1)
    with pytest.raises(ValueError, match="1 for 'person' and 'stop sign'"):
        coco.load(folder, "train")


def test_an_image_that_is_listed_again_is_read_once(folder):
    change(folder, "images", 2, id=7, file_name="007.jpg")
    split = coco.load(folder, "train")
    assert split.names == ("train2017/007.jpg", "train2017/003.jpg")
    assert "listed again under the same ID" in split.notes[0]


def test_a_file_with_two_ids_has_the_labels_and_boxes_of_both(folder):
    change(folder, "images", 1, file_name="./007.jpg")
    split = coco.load(folder, "train")
    assert split.names == ("train2017/007.jpg",)
    assert split.labels.tolist() == [[0, 1, 1]]
    assert split.boxes[0].keys() == {"apple", "stop sign"}
    assert "train2017/007.jpg (7, 3)" in split.notes[0]


BAD_BOXES = [
    *([], None, "1234", [1, 2, 3], [1, 2, 3, None], {"x": 1}, [[1], 2, 3, 4]),
    *([10**400, 0, 1, 1], [float("nan"), 0, 1, 1], [1e300, 0, 1, 1]),
]


@pytest.mark.parametrize("box", BAD_BOXES)
def test_a_box_that_is_none_costs_no_label(folder, box):
    change(folder, "annotations", 0, id=5, bbox=box)
    split = coco.load(folder, "train")
    assert split.labels.tolist() == [[0, 0, 1], [0, 1, 0]]
    np.testing.assert_array_equal(split.boxes[0]["apple"], [[0, 0, 1, 1]])
    assert "1 of 3 annotations have no box" in split.notes[-1]
    assert "annotation 5 of image 7" in split.notes[-1]


@pytest.mark.parametrize("size", [{}, {"width": 0}, {"height": "20"}, {"width": None}])
def test_an_image_without_a_size_has_labels_and_no_boxes(folder, size):
    change(folder, "images", 0, **{"width": None, "height": None, **size})
    split = coco.load(folder, "train")
    assert split.labels.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert split.boxes[0] == {}
    assert "2 of 3 annotations have no box" in split.notes[-1]


def test_labels_without_any_box_are_read_without_boxes(tmp_path):
    write_coco(tmp_path, "val2017", [{"image_id": 7, "category_id": 1}])
    assert coco.load(tmp_path, "val").boxes is None


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_boxes_are_turned_with_photographs_that_exif_turns(folder, orientation):
    image, note = Image.new("RGB", (40, 20), (90, 90, 90)), Image.Exif()
    image.paste((255, 0, 0), (4, 6, 12, 16))  # the first box
    note[0x0112] = orientation
    path = folder / "train2017" / "007.jpg"
    path.write_bytes(encode(image, "JPEG", quality=95, subsampling=0, exif=note))
    split = coco.load(folder, "train")
    decoded = decode_image(path.read_bytes()).numpy().astype(int)
    height, width = decoded.shape[:2]
    box = split.boxes[0]["apple"][0] * [height, width, height, width]
    top, left, bottom, right = np.round(box).astype(int)
    red = decoded[..., 0] - decoded[..., 2] > 100
    assert red[top:bottom, left:right].mean() > 0.9
    assert red.sum() < 1.2 * (bottom - top) * (right - left)
    assert any("EXIF" in note for note in split.notes) == (orientation > 1)


def write_group(folder, name="animals", of_others="animals", annotated=False):
    """Adds category 0, of which the others are, to the split."""
    path = folder / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for entry in content["categories"]:
        entry["supercategory"] = of_others
    content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})
    if annotated:
        content["annotations"].append({"image_id": 7, "category_id": 0})
    path.write_text(json.dumps(content))


def test_a_category_that_only_groups_the_others_is_no_label(folder):
    write_group(folder)
    split = coco.load(folder, "train")
    assert split.label_names == ("person", "stop sign", "apple")
    assert split.notes[0].startswith("the category 'animals' (ID 0) only groups")


@pytest.mark.parametrize(
    "case", [{"annotated": True}, {"of_others": "things"}, {"name": "cat"}]
)
def test_other_categories_without_annotations_stay_labels(folder, case):
    write_group(folder, **case)
    assert len(coco.load(folder, "train").label_names) == 4


def test_a_group_that_another_split_annotates_is_a_label_of_all(folder):
    write_group(folder)
    content = (folder / "annotations" / "instances_train2017.json").read_text()
    write_coco(folder, "val2017").write_text(content)
    assert len(coco.load(folder, "train").label_names) == 3
    write_group(folder, annotated=True)
    assert "animals" not in coco.load(folder, "val").notes[0]


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
    change(folder, "images", 0, file_name=name)
    with pytest.raises(ValueError, match="does not lie in the data folder"):
        coco.load(folder, "train")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("categories", 0, "name"), 7),
        (("categories", 0, "name"), "two\nlines"),
        (("categories", 0, "id"), []),
        (("images", 0, "id"), {}),
        (("annotations", 0, "image_id"), []),
    ],
)
def test_invalid_ids_and_label_names_are_refused(folder, where, value):
    place, row, key = where
    change(folder, place, row, **{key: value})
    with pytest.raises(ValueError, match="Received"):
        coco.load(folder, "train")


def test_deeply_nested_json_is_refused(folder):
    (folder / "annotations" / "instances_train2017.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="cannot be read"):
        coco.load(folder, "train")
