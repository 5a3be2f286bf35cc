"""Tests the reader of folders with csv files."""

from pathlib import Path

import numpy as np
import pytest

from ram_tf.data.csv_reader import csv_folder
from tests.support.paths import SHARED


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.csv").write_text(
        "image,labels\nphotos/1.jpg,dog;cat\nphotos/2.jpg,?cat\nphotos/3.jpg,\n"
    )
    (tmp_path / "val.csv").write_text("image,labels\nphotos/4.jpg,bird\n")
    return tmp_path


def write_single(folder, count, name="data.csv"):
    rows = [f"{i:03d}.jpg,cat\n" for i in range(count)]
    (folder / name).write_text("image,labels\n" + "".join(rows))


def test_a_question_mark_makes_a_listed_label_unknown(folder):
    split = csv_folder.load(folder, "train")
    np.testing.assert_array_equal(split.labels, [[0, 1, 1], [0, -1, 0], [0, 0, 0]])
    assert split.labels.dtype == np.int8
    assert split.names == ("photos/1.jpg", "photos/2.jpg", "photos/3.jpg")
    assert split.images[0] == str(folder / "photos" / "1.jpg")
    assert split.boxes is None


def test_label_names_are_the_sorted_union_of_all_files(folder):
    names = [csv_folder.load(folder, split).label_names for split in ("train", "val")]
    assert names == [("bird", "cat", "dog")] * 2


def test_labels_txt_fixes_names_and_order(folder):
    (folder / "labels.txt").write_text("dog\nfish\n\ncat\nbird\n")
    split = csv_folder.load(folder, "train")
    assert split.label_names == ("dog", "fish", "cat", "bird")
    np.testing.assert_array_equal(split.labels[0], [1, 0, 1, 0])


def test_a_label_outside_labels_txt_is_named_with_its_row_and_file(folder):
    (folder / "labels.txt").write_text("cat\nbird\n")
    with pytest.raises(ValueError, match=r"row 2 of .*train\.csv.*Received: 'dog'"):
        csv_folder.load(folder, "train")


def test_a_column_outside_labels_txt_is_named(folder):
    (folder / "labels.txt").write_text("cat\nbird\ndog\n")
    (folder / "val.csv").write_text("image,cat,fox\n4.jpg,1,0\n")
    with pytest.raises(ValueError, match=r"columns of .*val\.csv.*Received: 'fox'"):
        csv_folder.load(folder, "train")


def test_a_label_twice_in_labels_txt_is_refused(folder):
    (folder / "labels.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(ValueError, match="Received: cat"):
        csv_folder.load(folder, "train")


def test_a_list_of_too_many_labels_is_refused_at_once(folder):
    names = "".join(f"caption {i}\n" for i in range(50_000))
    (folder / "labels.txt").write_text(names)
    with pytest.raises(ValueError, match=r"labels\.txt.*10000 at most.*: 50000"):
        csv_folder.load(folder, "train")


def test_columns_are_one_zero_or_unknown(folder):
    (folder / "train.csv").write_text(
        "image,dog,cat\n1.jpg,1,0\n2.jpg,,-1\n3.jpg, 0 ,1\n"
    )
    split = csv_folder.load(folder, "train")
    assert split.label_names == ("bird", "cat", "dog")
    # The bird of val.csv has no column in this file: never annotated here.
    np.testing.assert_array_equal(split.labels, [[-1, 0, 1], [-1, -1, -1], [-1, 1, 0]])


def test_another_mark_in_a_column_is_named(folder):
    (folder / "train.csv").write_text("image,dog\n1.jpg,yes\n")
    with pytest.raises(ValueError, match=r"'dog' in row 2 of .*Received: 'yes'"):
        csv_folder.load(folder, "train")


def test_a_byte_order_mark_does_not_hide_the_image_column(folder):
    (folder / "train.csv").write_text(
        "labels,image\ncat,photos/1.jpg\n", encoding="utf-8-sig"
    )
    assert csv_folder.load(folder, "train").names == ("photos/1.jpg",)


def test_the_first_column_is_the_image_if_no_column_has_that_name(folder):
    (folder / "train.csv").write_text("file,labels\nphotos/1.jpg,cat\n")
    assert csv_folder.load(folder, "train").names == ("photos/1.jpg",)


@pytest.mark.parametrize(
    "path", ["/etc/1.jpg", "../1.jpg", "a/../../1.jpg", "C:\\1.jpg", "..\\1.jpg", ""]
)
def test_a_path_out_of_the_folder_is_refused(folder, path):
    (folder / "train.csv").write_text(f"image,labels\n{path},cat\n")
    with pytest.raises(ValueError, match=r"row 2 of .*not lie in the data folder"):
        csv_folder.load(folder, "train")


def test_an_image_named_twice_is_refused_in_any_spelling(folder):
    (folder / "train.csv").write_text("image,labels\na.jpg,cat\n./a.jpg,dog\n")
    with pytest.raises(ValueError, match=r"'a\.jpg' in row 3 of .* and in row 2"):
        csv_folder.load(folder, "train")


def test_an_image_of_two_splits_is_noted(folder):
    (folder / "val.csv").write_text("image,labels\nphotos/1.jpg,dog\n")
    notes = csv_folder.load(folder, "val").notes
    assert notes == ("1 images of val.csv are in train.csv, too.",)
    assert csv_folder.load(folder, "train").notes != ()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("image\n1.jpg\n", "needs a column of images"),
        ("image,cat,cat\n1.jpg,1,0\n", "each named once"),
        ("image,labels\n1.jpg,cat,dog\n", "row 2 of .* do not match"),
        ("image,labels\n1.jpg,cat;?cat\n", "labels of row 2 .*cannot be read"),
        ("image,labels\n1.jpg,?\n", "labels of row 2 .*cannot be read"),
        ("image,labels\n", "has no images"),
    ],
)
def test_an_invalid_csv_file_is_refused(folder, text, match):
    (folder / "train.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        csv_folder.load(folder, "train")


def test_bytes_that_are_not_text_are_refused(folder):
    (folder / "train.csv").write_bytes(b"image,labels\n1.jpg,caf\xe9\n")
    with pytest.raises(ValueError, match="comma-separated UTF-8"):
        csv_folder.load(folder, "train")


def test_files_that_name_no_label_are_refused(folder):
    (folder / "train.csv").write_text("image,labels\n1.jpg,\n")
    (folder / "val.csv").write_text("image,labels\n2.jpg,\n")
    with pytest.raises(ValueError, match="name no label"):
        csv_folder.load(folder, "train")


@pytest.mark.parametrize("name", ["data.csv", "labels.csv", "mine.csv"])
def test_a_single_csv_is_divided_into_three(tmp_path, name):
    write_single(tmp_path, 50, name)
    parts = [csv_folder.load(tmp_path, split).names for split in csv_folder.SPLITS]
    assert [len(part) for part in parts] == [40, 5, 5]
    assert len(set(sum(parts, ()))) == 50
    assert all(list(part) == sorted(part) for part in parts)
    assert csv_folder.split_names(tmp_path) == ("train", "val", "test")


def test_the_division_depends_on_seed_and_fractions(tmp_path):
    write_single(tmp_path, 50)
    first = csv_folder.load(tmp_path, "val", (0.5, 0.5, 0.0), seed=1).names
    assert len(first) == 25
    assert first == csv_folder.load(tmp_path, "val", (0.5, 0.5, 0.0), seed=1).names
    assert first != csv_folder.load(tmp_path, "val", (0.5, 0.5, 0.0), seed=2).names
    with pytest.raises(ValueError, match="has no images"):
        csv_folder.load(tmp_path, "test", (0.5, 0.5, 0.0))


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_invalid_fractions_are_refused(tmp_path, fractions):
    write_single(tmp_path, 50)
    with pytest.raises(ValueError, match="add up to 1"):
        csv_folder.load(tmp_path, "train", fractions)


def test_split_names_are_those_of_the_files(folder):
    assert csv_folder.split_names(folder) == ("train", "val")


def test_boxes_are_found_by_path_or_stem(folder):
    (folder / "boxes.json").write_text(
        '{"1": [{"label": "dog", "box": [0.1, 0.2, 0.3, 0.4]}],'
        ' "photos/2.jpg": [{"label": "cat", "box": [0, 0, 1, 1]}]}'
    )
    boxes = csv_folder.load(folder, "train").boxes
    np.testing.assert_allclose(boxes[0]["dog"], [[0.2, 0.1, 0.4, 0.3]], rtol=1e-6)
    assert boxes[1].keys() == {"cat"}
    assert boxes[2] == {}


def test_a_stem_of_two_images_is_refused(folder):
    (folder / "val.csv").write_text("image,labels\nothers/1.jpg,cat\n")
    (folder / "boxes.json").write_text('{"1": [{"label": "cat", "box": [0,0,1,1]}]}')
    with pytest.raises(ValueError, match=r"'1' for others/1\.jpg, photos/1\.jpg"):
        csv_folder.load(folder, "train")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"1": [{"label": "fox", "box": [0, 0, 1, 1]}]}', "Received: 'fox'"),
        ('{"1": [{"label": "cat", "box": [0, 0, 1]}]}', "four fractions"),
        ('{"1": [{"label": "cat", "box": [0.5, 0, 0.1, 1]}]}', "four fractions"),
        ('{"1": [{"label": "cat", "box": [0, 0, NaN, 1]}]}', "four fractions"),
        ('{"1": ', "is not JSON"),
        ("[]", "no boxes by image"),
        ('{"1": {"label": "cat"}}', "no boxes by image"),
        ('{"1": [{"label": "cat", "box": [0, 0, 1e99, 1]}]}', "four fractions"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_boxes_that_cannot_be_read_are_refused(folder, text, match):
    (folder / "boxes.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        csv_folder.load(folder, "train")


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_missing_folder_or_csv_shows_the_tree(tmp_path, place):
    with pytest.raises(FileNotFoundError, match=r"train\.csv +image,labels"):
        csv_folder.load(tmp_path / place, "train")


def test_a_missing_split_lists_the_existing_ones(folder):
    with pytest.raises(FileNotFoundError, match="one of: train, val; as in"):
        csv_folder.load(folder, "test")


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real photographs in ../shared")
@pytest.mark.parametrize(("split", "count"), [("train", 1298), ("val", 274)])
def test_the_real_photographs_are_all_there(split, count):
    found = csv_folder.load(SHARED / "data" / "clothing", split)
    assert len(found) == count
    assert len(found.label_names) == 47
    assert 5 < found.labels.sum(1).mean() < 6
    assert all(Path(image).is_file() for image in found.images)


@pytest.mark.parametrize("path", ["a\0.jpg", "a/../b.jpg", "\\\\host\\1.jpg", "."])
def test_an_invalid_path_is_refused(folder, path):
    (folder / "train.csv").write_text(f"image,labels\n{path},cat\n")
    with pytest.raises(ValueError, match="not lie in the data folder"):
        csv_folder.load(folder, "train")


def test_a_symbolic_link_in_the_folder_may_lead_out(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    (elsewhere / "1.jpg").write_bytes(b"x")
    (folder / "photos").symlink_to(elsewhere)
    split = csv_folder.load(folder, "train")
    assert Path(split.images[0]).read_bytes() == b"x"


def test_a_key_of_boxes_json_does_not_leave_the_folder(folder):
    (folder / "boxes.json").write_text('{"../../1": [], "/etc/passwd": []}')
    split = csv_folder.load(folder, "train")
    assert split.boxes == ({}, {}, {})
    assert "2 of 2 keys" in split.notes[-1]


@pytest.mark.parametrize("key", ["photos\\\\1.jpg", "./photos/1.jpg", "photos//1.jpg"])
def test_keys_of_boxes_json_are_paths_in_any_spelling(folder, key):
    (folder / "boxes.json").write_text(
        f'{{"{key}": [{{"label": "dog", "box": [0, 0, 1, 1]}}]}}'
    )
    split = csv_folder.load(folder, "train")
    assert sum(map(len, split.boxes)) == 1
    assert not any("boxes.json" in note for note in split.notes)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("caf\xe9".encode("latin-1"), r"labels\.txt cannot be read.*UTF-8"),
        (b"bird\ncat\ndog\n\0\n", "A label in .* cannot be used"),
    ],
)
def test_an_invalid_list_of_labels_is_refused(folder, content, match):
    (folder / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        csv_folder.load(folder, "train")


def test_a_label_of_two_lines_is_refused(folder):
    (folder / "train.csv").write_text('image,"ca\nt"\n1.jpg,1\n')
    with pytest.raises(ValueError, match="one line each"):
        csv_folder.load(folder, "train")


def test_a_column_of_captions_does_not_fill_the_memory(folder):
    rows = [f"{i}.jpg,caption {i}\n" for i in range(10_001)]
    (folder / "train.csv").write_text("image,labels\n" + "".join(rows))
    with pytest.raises(ValueError, match=r"10000 at most\. Received: 10002"):
        csv_folder.load(folder, "train")
