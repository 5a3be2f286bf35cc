"""Tests the reader of PASCAL VOC folders."""

import re
from pathlib import Path

import numpy as np
import pytest

from ram_tf.data.voc_reader import voc
from ram_tf.data.voc_reader.voc_annotations import MAX_BYTES
from tests.support.paths import SHARED
from tests.support.voc_folder import write_split

CAT, DOG = voc.LABEL_NAMES.index("cat"), voc.LABEL_NAMES.index("dog")
ANNOTATION = """\
<annotation><size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox>
<xmin>6</xmin><ymin>5</ymin><xmax>25</xmax><ymax>40</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    write_split(
        root, "train", {"2012_1": {"cat": 1, "dog": 0}, "2012_2": {"dog": 1}, "x": {}}
    )
    write_split(root, "val", {"2012_3": {"person": 1}})
    return root.parent


def test_labels_come_from_the_class_files(devkit):
    split = voc.load(devkit, 2012, "train")
    assert split.label_names == voc.LABEL_NAMES
    assert len(split.label_names) == 20
    assert split.names == tuple(
        f"JPEGImages/{s}.jpg" for s in ("2012_1", "2012_2", "x")
    )
    expected = np.zeros((3, 20))
    expected[0, CAT] = expected[1, DOG] = 1
    expected[0, DOG] = -1
    np.testing.assert_array_equal(split.labels, expected)
    assert split.labels.dtype == np.int8
    assert all(Path(image).is_file() for image in split.images)


@pytest.mark.parametrize(
    ("policy", "label"), [("unknown", -1), ("positive", 1), ("negative", 0)]
)
def test_the_policy_decides_on_difficult_labels_only(devkit, policy, label):
    split = voc.load(devkit, 2012, "train", difficult=policy)
    assert split.labels[0, DOG] == label
    assert split.labels[0, CAT] == 1
    assert split.labels[1, CAT] == 0
    assert split.notes == (f"1 labels with difficult objects only: taken as {policy}.",)


def test_an_unknown_policy_is_refused(devkit):
    with pytest.raises(ValueError, match=r"unknown, positive, negative\. Received"):
        voc.load(devkit, 2012, "train", difficult="ignore")


@pytest.mark.parametrize("place", [".", "VOC2012", ".."])
def test_the_folder_is_found_from_above_and_inside(devkit, place):
    assert len(voc.load(devkit / place, 2012, "train")) == 3


def test_the_folder_of_another_year_is_refused(devkit):
    with pytest.raises(FileNotFoundError, match="VOC2007/ImageSets/Main"):
        voc.load(devkit / "VOC2012", 2007, "train")


def test_trainval_is_built_from_both_if_its_files_are_missing(devkit):
    split = voc.load(devkit, 2012, "trainval")
    assert len(split) == 4
    assert split.labels[3, voc.LABEL_NAMES.index("person")] == 1


def test_trainval_is_read_from_its_own_files_if_they_exist(devkit):
    write_split(devkit / "VOC2012", "trainval", {"2012_9": {"cat": 1}})
    assert voc.load(devkit, 2012, "trainval").names == ("JPEGImages/2012_9.jpg",)


def test_an_image_in_train_and_val_is_an_error_of_trainval(devkit):
    write_split(devkit / "VOC2012", "val", {"2012_1": {"cat": 1}})
    with pytest.raises(ValueError, match="in train and in val"):
        voc.load(devkit, 2012, "trainval")


def test_boxes_of_annotations_count_pixels_from_one(devkit):
    folder = devkit / "VOC2012" / "Annotations"
    folder.mkdir()
    (folder / "2012_1.xml").write_text(ANNOTATION)
    boxes = voc.load(devkit, 2012, "train").boxes
    np.testing.assert_allclose(boxes[0]["cat"], [[0.1, 0.1, 1.0, 0.5]], rtol=1e-6)
    assert boxes[0].keys() == {"cat"}
    assert boxes[1:] == ({}, {})


def test_boxes_json_is_read_if_there_are_no_annotations(devkit):
    (devkit / "VOC2012" / "boxes.json").write_text(
        '{"2012_2": [{"label": "dog", "box": [0.1, 0.2, 0.3, 0.4]}]}'
    )
    boxes = voc.load(devkit, 2012, "train").boxes
    assert boxes[0] == {}
    np.testing.assert_allclose(boxes[1]["dog"], [[0.2, 0.1, 0.4, 0.3]], rtol=1e-6)


def test_keys_of_boxes_json_that_name_no_image_are_noted(devkit):
    path = devkit / "VOC2012" / "boxes.json"
    path.write_text('{"2012_2": [], "2012_2.jpg": [], "2012_0": []}')
    (note,) = voc.load(devkit, 2012, "train").notes[-1:]
    assert note.startswith(f"2 of 3 keys of {path} name no image")


def test_without_annotations_and_boxes_json_there_are_no_boxes(devkit):
    assert voc.load(devkit, 2012, "train").boxes is None


def notes_of_annotation(devkit, content, encoding="utf-8"):
    """Writes an annotation and returns the notes, after a check of the labels."""
    expected = voc.load(devkit, 2012, "train")
    path = devkit / "VOC2012" / "Annotations" / "2012_1.xml"
    path.parent.mkdir()
    path.write_text(content, encoding=encoding)
    split = voc.load(devkit, 2012, "train")
    np.testing.assert_array_equal(split.labels, expected.labels)
    assert split.boxes == ({}, {}, {})
    return "; ".join(split.notes)


def test_a_broken_annotation_is_told_and_leaves_the_labels(devkit):
    notes = notes_of_annotation(devkit, ANNOTATION[:80])
    assert "1 annotations are left out" in notes
    assert "2012_1.xml cannot be read" in notes


def test_missing_images_show_the_tree(devkit):
    (devkit / "VOC2012" / "JPEGImages").rename(devkit / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no images in (.|\n)*JPEGImages/"):
        voc.load(devkit, 2012, "train")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("kind", ["", "SYSTEM 'a.dtd'", "[]", "[<!ENTITY a 'b'>]"])
def test_an_annotation_with_a_document_type_is_refused(devkit, kind, encoding):
    content = f"<!DOCTYPE a {kind}>{ANNOTATION}"
    assert "Received: a document type" in notes_of_annotation(devkit, content, encoding)


def test_an_annotation_of_more_than_max_bytes_is_refused(devkit):
    folder = devkit / "VOC2012" / "Annotations"
    folder.mkdir()
    path = folder / "2012_1.xml"
    head, entry = ANNOTATION.splitlines()[0], "\n".join(ANNOTATION.splitlines()[1:3])
    path.write_text(f"{head}{entry * 1000}</annotation>")
    assert path.stat().st_size < MAX_BYTES / 3
    assert len(voc.load(devkit, 2012, "train").boxes[0]["cat"]) == 1000
    path.write_text(ANNOTATION + " " * MAX_BYTES)
    notes = "; ".join(voc.load(devkit, 2012, "train").notes)
    assert f"{path} cannot" in notes
    assert "Received: 10" in notes


def test_a_missing_folder_shows_the_tree(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"VOC2012/\n.*JPEGImages") as caught:
        voc.load(tmp_path / "nowhere", 2012, "train")
    assert "is not a folder" in str(caught.value)
    assert "ImageSets/Main/aeroplane_train.txt" in str(caught.value)


def test_a_missing_split_shows_the_files_expected(devkit):
    with pytest.raises(FileNotFoundError, match="lacks 20 of its 20") as caught:
        voc.load(devkit, 2012, "test")
    assert "ImageSets/Main/aeroplane_test.txt" in str(caught.value)
    assert "not published" in str(caught.value)


def test_a_missing_class_file_is_named(devkit):
    (devkit / "VOC2012/ImageSets/Main/sofa_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no sofa_train\.txt"):
        voc.load(devkit, 2012, "train")


def test_a_line_that_cannot_be_read_is_named(devkit):
    path = devkit / "VOC2012/ImageSets/Main/cat_train.txt"
    path.write_text("2012_1  1\n2012_2 yes\n")
    with pytest.raises(ValueError, match=f"Line 2 of {re.escape(str(path))}"):
        voc.load(devkit, 2012, "train")


def test_class_files_of_different_images_are_refused(devkit):
    path = devkit / "VOC2012/ImageSets/Main/cat_train.txt"
    path.write_text("2012_1  1\n2012_2 -1\n")
    with pytest.raises(ValueError, match=r"one of them only, the first of them x"):
        voc.load(devkit, 2012, "train")


def test_a_split_without_images_is_refused(devkit):
    write_split(devkit / "VOC2012", "empty", {})
    with pytest.raises(ValueError, match="has no images"):
        voc.load(devkit, 2012, "empty")


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real photographs in ../shared")
@pytest.mark.parametrize(("split", "count"), [("train", 2141), ("val", 353)])
def test_the_real_photographs_are_all_there(split, count):
    found = voc.load(SHARED / "data" / "VOCdevkit", 2012, split)
    assert len(found) == count
    assert all(Path(image).is_file() for image in found.images)
    boxed = {name for boxes in found.boxes for name in boxes}
    assert boxed == {"cat", "cow", "dog", "horse", "sheep"}


@pytest.mark.parametrize("stem", ["../../1", "/etc/1", "a\\..\\1"])
def test_images_do_not_leave_the_folder(devkit, stem):
    write_split(devkit / "VOC2012", "val", {"1": {}})
    for path in (devkit / "VOC2012" / "ImageSets" / "Main").glob("*_val.txt"):
        path.write_text(f"{stem} 1\n")
    with pytest.raises(ValueError, match="not lie in the data folder"):
        voc.load(devkit, 2012, "val")


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("<annotation>", '<?xml version="1.0" encoding="x"?><annotation>', "cannot be"),
        ("<width>50", "<width>nan", "no size of the image in "),
        ("<xmin>6", "<xmin>1e999", "a side that is no number in "),
        ("<name>cat", "<name>&unknown;", "cannot be read"),
    ],
)
def test_an_invalid_annotation_is_told_and_leaves_the_labels(devkit, old, new, note):
    notes = notes_of_annotation(devkit, ANNOTATION.replace(old, new))
    assert note in notes
    assert "2012_1.xml" in notes


def test_nested_entities_are_refused(devkit):
    entities = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(12))
    notes = notes_of_annotation(
        devkit,
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{entities}]>'
        + ANNOTATION.replace("cat", "&l12;"),
    )
    assert "Received: a document type" in notes


def test_a_class_file_that_is_not_text_is_named(devkit):
    path = devkit / "VOC2012" / "ImageSets" / "Main" / "cat_train.txt"
    path.write_bytes(b"caf\xe9 1\n")
    with pytest.raises(ValueError, match=r"cat_train\.txt cannot be read.*UTF-8"):
        voc.load(devkit, 2012, "train")
