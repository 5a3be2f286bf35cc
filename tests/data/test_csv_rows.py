"""Tests what the columns of a csv file are taken for."""

import pytest

from ram_tf.data.csv_reader import csv_rows


def read(folder, text, allowed=(), **options):
    path = folder / "x.csv"
    path.write_text(text)
    return csv_rows.read(path, allowed, "TREE", **options)


@pytest.mark.parametrize(
    "first",
    [
        "photos/1.jpg,0,1",
        "photos/1.JPEG,red;blue",
        "photos/1.jpg,1,1",
        "0,photos/1.jpg,red",
        "IMG_0001,0,1",
        "IMG_0001,red;blue",
        "b7b23391,0,1",
        "7,0,1",
        '"photos/1.jpg",""',
    ],
)
def test_an_image_in_place_of_a_header_is_refused(tmp_path, first):
    second = first.replace("1.", "2.").replace("0001", "0002").replace("b7", "cd")
    second = second.replace("7,", "8,") if first[0] == "7" else second
    with pytest.raises(ValueError, match=r"seems to have no header.*first line"):
        read(tmp_path, f"{first}\n{second}\n")


def test_an_existing_file_in_place_of_a_header_is_refused(tmp_path):
    (tmp_path / "first").touch()
    with pytest.raises(ValueError, match="seems to have no header"):
        read(tmp_path, "first,cat\nno2,1\n")


@pytest.mark.parametrize("first", ["image", "file", "photo", "digit image"])
def test_labels_may_be_named_as_numbers(tmp_path, first):
    found = read(tmp_path, f"{first},0,1\n1.jpg,1,0\n22.jpg,0,1\n")
    assert found.rows[0].marks == {"0": 1, "1": 0}


def test_other_columns_than_the_labels_are_named(tmp_path):
    text = ",image,width,labels,By\n0,1.jpg,640,cat,me\n1,2.jpg,480,dog,me\n"
    found = read(tmp_path, text)
    assert [row.marks for row in found.rows] == [{"cat": 1}, {"dog": 1}]
    (note,) = found.notes
    assert "3 columns of x.csv" in note
    assert note.endswith("column 1 without a name, width, By")


def test_row_numbers_are_no_label(tmp_path):
    found = read(tmp_path, "Unnamed: 0,image,cat\n0,1.jpg,1\n1,2.jpg,0\n")
    assert found.names == {"cat": None}
    assert "Unnamed: 0" in found.notes[0]


def test_images_are_found_by_their_suffix(tmp_path):
    found = read(tmp_path, "id,filename,labels\n7,1.jpg,cat\n8,2.PNG,dog\n")
    assert [row.image for row in found.rows] == ["1.jpg", "2.PNG"]


@pytest.mark.parametrize("name", ["Labels", "label", "tags"])
def test_a_list_of_labels_may_have_another_name(tmp_path, name):
    found = read(tmp_path, f"Image,{name}\n1.jpg,cat;dog\n")
    assert found.rows[0].marks == {"cat": 1, "dog": 1}


def test_a_column_of_marks_is_a_label_whatever_its_name(tmp_path):
    found = read(tmp_path, "image,tags,split\n1.jpg,1,0\n2.jpg,0,1\n")
    assert found.rows[0].marks == {"tags": 1, "split": 0}
    assert "'split' of x.csv holds 1 and 0" in found.notes[0]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("split", "train val test"),
        ("Split", "Train Valid TEST"),
        ("is_valid", "False True 1"),
    ],
)
@pytest.mark.parametrize("labels", ["labels", "cat"])
def test_a_column_of_splits_is_no_label(tmp_path, column, cells, labels):
    mark = "cat" if labels == "labels" else "1"
    lines = [f"{i}.jpg,{cell},{mark}" for i, cell in enumerate(cells.split())]
    text = "\n".join([f"image,{column},{labels}", *lines])
    found = read(tmp_path, text)
    last = "val" if column == "is_valid" else "test"
    assert [row.split for row in found.rows] == ["train", "val", last]
    assert {name for row in found.rows for name in row.marks} == {"cat"}
    assert csv_rows.splits_in(tmp_path / "x.csv", "") == {"train", "val", last}
    unused = read(tmp_path, text, use_split=False)
    assert column in unused.notes[0]
    assert unused.rows[0].split is None


def test_windows_separators_are_read(tmp_path):
    found = read(tmp_path, "image,labels\nphotos\\1.jpg,cat\n.\\photos\\2.jpg,\n")
    assert [row.image for row in found.rows] == ["photos/1.jpg", "photos/2.jpg"]


def test_the_parts_of_an_unknown_label_are_recognised(tmp_path):
    with pytest.raises(ValueError, match=r"'red,blue', whose parts are labels"):
        read(tmp_path, 'image,labels\n1.jpg,"red,blue"\n', ("red", "blue"))


def test_a_file_of_splits_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no column of labels"):
        read(tmp_path, "image,split\n1.jpg,train\n")
