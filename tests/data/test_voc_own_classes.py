"""Tests the reader of VOC on folders with other classes, as tools leave them."""

import re
from pathlib import Path

import numpy as np
import pytest

from ram_tf.data.voc_reader import voc
from tests.support.voc_exports import (
    BOX,
    annotation,
    write_beside,
    write_image,
    write_listed,
    write_pair,
)
from tests.support.voc_folder import write_split

HELMETS = {"a": ["vest"], "b": ["helmet", "vest"], "c": []}


def rows_of(split):
    """Returns the labels of a split's images by name."""
    return dict(zip(split.names, split.labels.tolist(), strict=True))


@pytest.fixture
def listed(tmp_path):
    write_listed(tmp_path, {"train": HELMETS, "val": {"d": ["glove"]}})
    return tmp_path


@pytest.fixture
def labelimg(tmp_path):
    write_beside(tmp_path, {f"IMG {i}": [["cat", "dog"][i % 2]] for i in range(20)})
    return tmp_path


@pytest.mark.parametrize("year", [None, 2007, 2012])
def test_without_class_files_labels_are_those_of_the_annotations(listed, year):
    split = voc.load(listed, year, "train")
    assert split.label_names == ("glove", "helmet", "vest")
    assert rows_of(split) == {
        "JPEGImages/a.jpg": [0, 0, 1],
        "JPEGImages/b.jpg": [0, 1, 1],
        "JPEGImages/c.jpg": [0, 0, 0],
    }
    assert split.labels.dtype == np.int8
    np.testing.assert_allclose(split.boxes[0]["vest"], [[0.1, 0.1, 1, 0.5]], rtol=1e-6)
    assert voc.load(listed, year, "val").label_names == split.label_names
    assert len(voc.load(listed, year, "trainval")) == 4
    assert voc.split_names(listed, year) == ("train", "trainval", "val")


@pytest.mark.parametrize("place", ["VOC2012", "VOCdevkit/VOC2012", "mine", "zip/mine"])
def test_a_folder_of_own_classes_is_found_below(tmp_path, place):
    write_listed(tmp_path / place, {"train": HELMETS})
    assert voc.load(tmp_path, 2012, "train").label_names == ("helmet", "vest")
    assert voc.load(tmp_path, None, "train").label_names == ("helmet", "vest")


def test_one_of_several_folders_has_to_be_named(tmp_path):
    for name in ("VOC2007", "VOC2012"):
        write_listed(tmp_path / name, {"train": HELMETS})
    with pytest.raises(ValueError, match="--data_dir to be one of them"):
        voc.load(tmp_path, None, "train")
    assert len(voc.load(tmp_path, 2007, "train")) == 3


@pytest.mark.parametrize(
    ("policy", "label"), [("unknown", -1), ("positive", 1), ("negative", 0)]
)
def test_labels_with_difficult_objects_only_follow_the_policy(listed, policy, label):
    (listed / "Annotations/a.xml").write_text(annotation("vest", difficult=1))
    both = annotation("vest", "vest", difficult=1).replace(">1<", ">0<", 1)
    (listed / "Annotations/b.xml").write_text(both)
    split = voc.load(listed, None, "train", difficult=policy)
    column = split.label_names.index("vest")
    assert split.labels[:, column].tolist() == [label, 1, 0]
    assert f"1 labels with difficult objects only: taken as {policy}." in split.notes


def test_class_files_of_own_classes_are_read(tmp_path):
    write_listed(tmp_path, {"train": {"IMG 0": ["vest"], "IMG 1": ["tie"]}})
    main = tmp_path / "ImageSets" / "Main"
    (main / "hard hat_train.txt").write_text("IMG 0 -1\nIMG 1  1\n")
    (main / "safety_vest_train.txt").write_text("IMG 0 0\r\n\r\nIMG 1 -1\r\n")
    split = voc.load(tmp_path, 2007, "train")
    assert split.label_names == ("hard hat", "safety_vest")
    assert rows_of(split) == {
        "JPEGImages/IMG 0.jpg": [0, -1],
        "JPEGImages/IMG 1.jpg": [1, 0],
    }
    assert any(
        "2 objects of other names" in n and "tie, vest" in n for n in split.notes
    )


def test_images_without_a_line_in_class_files_have_their_annotations_labels(tmp_path):
    # CVAT writes no line for an image without labels.
    write_listed(tmp_path, {"default": {"IMG 1": ["cat"], "IMG 0": [], "b 1": ["dog"]}})
    main = tmp_path / "ImageSets" / "Main"
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:1,2,3::\ncat:::\n"
    )
    for name, mark in (("background", -1), ("dog", -1), ("cat", 1)):
        (main / f"{name}_default.txt").write_text(f"IMG 1 {mark: d}\n")
    split = voc.load(tmp_path, None, "default")
    assert split.label_names == ("dog", "cat")
    assert rows_of(split) == {
        "JPEGImages/IMG 1.jpg": [0, 1],
        "JPEGImages/IMG 0.jpg": [0, 0],
        "JPEGImages/b 1.jpg": [1, 0],
    }


def test_a_label_map_gives_names_and_order(listed):
    (listed / "labelmap.txt").write_text(
        "\ufeff# label:color_rgb:parts:actions\nbackground:0,0,0::\nvest:1,2,3::\n"
        "boot:::\nhelmet:4,5,6:strap:\n",
        "utf-8",
    )
    split = voc.load(listed, None, "train")
    assert split.label_names == ("vest", "boot", "helmet", "glove")
    assert any("differ in 2 names: boot, glove" in note for note in split.notes)


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".JPG", ".jpg", ".Png"])
def test_images_are_looked_for_by_stem(tmp_path, suffix):
    write_listed(tmp_path, {"train": {"IMG 0.5": ["vest"], "b": []}}, suffix)
    split = voc.load(tmp_path, None, "train")
    assert split.names == (f"JPEGImages/IMG 0.5{suffix}", f"JPEGImages/b{suffix}")
    assert all(Path(image).is_file() for image in split.images)


def test_images_with_the_stem_of_another_are_told(listed):
    write_image(listed / "JPEGImages" / "a.png")
    split = voc.load(listed, None, "train")
    assert split.names[0] == "JPEGImages/a.jpg"
    (note,) = (note for note in split.notes if "the stem of another" in note)
    assert "1 images" in note
    assert "JPEGImages/a.png beside JPEGImages/a.jpg" in note


@pytest.mark.parametrize("form", ["{}.jpg", '"{}"', "{}\r", "\ufeff{}"])
def test_lists_are_read_as_tools_write_them(tmp_path, form):
    write_listed(tmp_path, {"train": {"IMG 0": ["vest"]}})
    path = tmp_path / "ImageSets/Main/train.txt"
    path.write_text(form.format("IMG 0") + "\n", "utf-8")
    assert voc.load(tmp_path, None, "train").names == ("JPEGImages/IMG 0.jpg",)


def test_lists_may_name_images_in_sub_folders(tmp_path):
    write_listed(tmp_path, {"train": {"day 1/a": ["vest"], "day 2/a": ["tie"]}}, ".png")
    split = voc.load(tmp_path, None, "train")
    assert rows_of(split) == {
        "JPEGImages/day 1/a.png": [0, 1],
        "JPEGImages/day 2/a.png": [1, 0],
    }


@pytest.mark.parametrize("val", ["valid", "val", "Validation"])
def test_folders_are_splits(tmp_path, val):
    write_beside(tmp_path / "train", {"a_jpg.rf.1": ["vest"], "b_jpg.rf.2": ["tie"]})
    write_beside(tmp_path / val, {"a_jpg.rf.3": ["hat"]})
    write_beside(tmp_path / "test", {"c": []})
    (tmp_path / "README.roboflow.txt").write_text("from Roboflow")
    splits = {name: voc.load(tmp_path, 2012, name) for name in ("train", "val", "test")}
    assert splits["train"].names == ("train/a_jpg.rf.1.jpg", "train/b_jpg.rf.2.jpg")
    assert splits["val"].names == (f"{val}/a_jpg.rf.3.jpg",)
    assert splits["test"].labels.tolist() == [[0, 0, 0]]
    assert {split.label_names for split in splits.values()} == {("hat", "tie", "vest")}
    assert len(voc.load(tmp_path, None, "trainval")) == 3


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("{split}/images/a 1.jpg", "{split}/annotations/a 1.xml"),
        ("images/{split}/a 1.jpg", "annotations/{split}/a 1.xml"),
        ("JPEGImages/{split}/a 1.jpg", "Annotations/{split}/a 1.xml"),
        ("export/{split}/a 1.jpg", "export/{split}/a 1.xml"),
    ],
)
def test_a_folder_of_a_split_may_lie_anywhere(tmp_path, image, xml):
    for split, name in (("train", "vest"), ("valid", "tie")):
        places = (tmp_path / place.format(split=split) for place in (image, xml))
        write_pair(*places, name)
    assert voc.split_names(tmp_path) == ("train", "trainval", "val")
    assert rows_of(voc.load(tmp_path, None, "val")) == {
        image.format(split="valid"): [1, 0]
    }


def test_annotations_in_and_outside_folders_of_splits_are_refused(tmp_path):
    write_beside(tmp_path / "train", {"a": ["vest"]})
    write_beside(tmp_path / "more", {"b": ["vest"]})
    with pytest.raises(ValueError, match="1 elsewhere, such as"):
        voc.load(tmp_path, None, "train")


def test_images_and_annotations_alone_are_divided(labelimg):
    splits = [voc.load(labelimg, None, name) for name in ("train", "val", "test")]
    assert [len(split) for split in splits] == [16, 2, 2]
    names = [name for split in splits for name in split.names]
    assert sorted(names) == sorted(f"IMG {i}.jpg" for i in range(20))
    for split in splits:
        assert split.label_names == ("cat", "dog")
        # Each label has its share.
        assert split.labels.sum(0).tolist() == [len(split) / 2] * 2
        assert f"of 20 images: {labelimg} has no splits" in split.notes[0]
    again = voc.load(labelimg, None, "train")
    assert again.names == splits[0].names
    other = voc.load(labelimg, None, "train", seed=1)
    assert other.names != splits[0].names
    half = voc.load(labelimg, None, "val", split_fraction=(0.4, 0.5, 0.1))
    assert len(half) == 10


def test_images_and_annotations_may_lie_in_folders_of_their_own(tmp_path):
    for i in range(10):
        image, xml = f"Images/{i}.png", f"Annotations/{i}.xml"
        write_pair(tmp_path / image, tmp_path / xml, "vest")
        write_image(tmp_path / f"SegmentationClass/{i}.png")
    split = voc.load(tmp_path, None, "train")
    assert set(split.names) <= {f"Images/{i}.png" for i in range(10)}
    assert not any("left out" in note for note in split.notes)


@pytest.mark.parametrize(("negatives", "count"), [("drop", 3), ("keep", 4)])
def test_images_without_annotation_are_told(listed, negatives, count):
    write_image(listed / "JPEGImages" / "new.jpg")
    with open(listed / "ImageSets/Main/train.txt", "a") as file:
        file.write("new\n")
    split = voc.load(listed, None, "train", negatives=negatives)
    assert len(split) == count
    assert not split.labels[3:].any()
    (note,) = (note for note in split.notes if "have no annotation" in note)
    assert note.startswith("1 images")
    assert note.endswith("JPEGImages/new.jpg")


@pytest.mark.parametrize(("negatives", "count"), [("drop", 20), ("keep", 21)])
def test_images_without_annotation_beside_others_are_told(labelimg, negatives, count):
    write_image(labelimg / "new.jpg")
    found = [voc.load(labelimg, None, s, negatives=negatives) for s in voc.DIVIDED]
    assert sum(map(len, found)) == count
    assert all(any("1 images have no" in n for n in split.notes) for split in found)


def test_an_annotation_of_a_missing_image_stays_to_be_refused(labelimg):
    (labelimg / "IMG 3.jpg").unlink()
    found = [voc.load(labelimg, None, split) for split in voc.DIVIDED]
    images = [image for split in found for image in split.images]
    assert [i for i in images if not Path(i).exists()] == [f"{labelimg}/IMG 3.jpg"]


def test_other_xml_files_and_side_files_are_no_annotations(labelimg):
    (labelimg / "project.xml").write_text("<project/>")
    (labelimg / "._IMG 1.xml").write_bytes(b"\0\5\26\7")
    assert len(voc.load(labelimg, None, "train")) == 16


BAD_BOXES = [
    ((*BOX[:2], 5, 40), "its minimum above its maximum"),
    (("nan", 1, 2, 3), "a side that is no number"),
    (("", 1, 2, 3), "a side that is no number"),
    (("1e999", 1, 2, 3), "a side that is no number"),
    ((60, 5, 90, 40), "outside the image"),
    ((-9, 5, 0, 40), "outside the image"),
]


@pytest.mark.parametrize(("box", "reason"), BAD_BOXES)
def test_a_wrong_box_is_left_out_and_told(listed, box, reason):
    text = annotation("vest", box=box)
    (listed / "Annotations/a.xml").write_text(text)
    split = voc.load(listed, None, "train")
    assert split.labels.tolist() == voc.load(listed, None, "train").labels.tolist()
    assert split.labels[0].tolist() == [0, 0, 1]
    assert split.boxes[0] == {}
    assert split.boxes[1].keys() == {"helmet", "vest"}
    (note,) = (note for note in split.notes if "boxes cannot be used" in note)
    assert note.startswith("1 boxes")
    assert f"{reason} in {listed}/Annotations/a.xml" in note


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"<size>.*</size>", ""),
        (r"<width>50", "<width>0"),
        (r"<bndbox>(.|\n)*?</bndbox>", ""),
        (r"bndbox", "robndbox"),
    ],
)
def test_labels_need_no_sizes_and_no_boxes(listed, old, new):
    path = listed / "Annotations/b.xml"
    path.write_text(re.sub(old, new, path.read_text()))
    split = voc.load(listed, None, "train")
    assert split.labels[1].tolist() == [0, 1, 1]
    assert split.boxes[1] == {}
    assert any(note.startswith("2 boxes cannot be used") for note in split.notes)


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("<annotation>", "no element found"),
        ("<!DOCTYPE a []><annotation/>", "a document type"),
        (annotation("").replace("<name></name>", ""), "has no name"),
        (annotation("two\nlines"), "cannot be used"),
        ("<annotation>" + " " * (1 << 20), "1048588 bytes"),
    ],
)
def test_labels_that_cannot_be_read_are_refused(listed, content, received):
    (listed / "Annotations/a.xml").write_text(content)
    with pytest.raises(ValueError, match=received) as caught:
        voc.load(listed, None, "train")
    assert str(listed) in str(caught.value)


def test_two_annotations_of_an_image_are_refused(labelimg):
    write_pair(labelimg / "IMG 0.jpg", labelimg / "Annotations/IMG 0.xml", "dog")
    with pytest.raises(ValueError, match=r"two annotations.*IMG 0\.xml"):
        voc.load(labelimg, None, "train")


def test_an_image_twice_in_a_class_file_with_different_marks_is_refused(tmp_path):
    write_listed(tmp_path, {"train": {"a": []}})
    path = tmp_path / "ImageSets/Main/vest_train.txt"
    path.write_text("a 1\na -1\n")
    with pytest.raises(ValueError, match=r"twice, with different marks.*'a' with 1"):
        voc.load(tmp_path, None, "train")


def test_a_split_lacks_none_of_the_own_class_files(listed):
    main = listed / "ImageSets/Main"
    for name in ("vest_train", "vest_val", "tie_val"):
        (main / f"{name}.txt").write_text("a 1\nb 1\nc 1\n")
    with pytest.raises(FileNotFoundError, match=r"1 of its 2.*(.|\n)*tie_train\.txt"):
        voc.load(listed, None, "train")


def test_a_missing_split_names_those_there_are(listed):
    with pytest.raises(FileNotFoundError, match="train, trainval, val") as caught:
        voc.load(listed, None, "test")
    assert "--report_split" in str(caught.value)


def test_a_folder_without_annotations_shows_the_layouts(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no VOC annotation in") as caught:
        voc.load(tmp_path, None, "train")
    for part in ("ImageSets/Main/train.txt", "train/NAME.xml", "are divided"):
        assert part in str(caught.value)


def test_objects_are_no_label_of_images_of_the_20_class_files(tmp_path):
    write_split(tmp_path, "train", {"a": {"cat": 1}})
    write_pair(tmp_path / "JPEGImages/a.jpg", tmp_path / "Annotations/a.xml", "fox")
    (tmp_path / "ImageSets/Main/fox_train.txt").write_text("a 1\n")
    split = voc.load(tmp_path, 2012, "train")
    assert split.label_names == voc.LABEL_NAMES
    assert any("further classes are left out (fox)" in note for note in split.notes)
    assert any("1 objects of other names" in note for note in split.notes)
    assert "fox" in voc.load(tmp_path, None, "train").label_names
