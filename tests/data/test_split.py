"""Tests `Split`, file names and paths."""

import hashlib
import json

import numpy as np
import pytest

from ram_tf.data import split as split_module
from ram_tf.data.split import Split, file_names, path_inside


def make_split(count):
    return Split(
        images=tuple(f"/data/{i}.jpg" for i in range(count)),
        names=tuple(f"{i}.jpg" for i in range(count)),
        labels=np.arange(2 * count).reshape(count, 2).astype(np.int8),
        label_names=("cat", "dog"),
        boxes=tuple({"cat": np.full((1, 4), i, np.float32)} for i in range(count)),
        proposals=np.arange(4 * count, dtype=np.float32).reshape(count, 1, 4),
    )


def test_take_keeps_each_image_with_its_labels_and_boxes():
    taken = make_split(5).take([3, 1])
    assert taken.images == ("/data/3.jpg", "/data/1.jpg")
    assert taken.names == ("3.jpg", "1.jpg")
    np.testing.assert_array_equal(taken.labels, [[6, 7], [2, 3]])
    assert [boxes["cat"][0, 0] for boxes in taken.boxes] == [3, 1]
    np.testing.assert_array_equal(taken.proposals[:, 0, 0], [12, 4])


def test_take_of_a_split_without_boxes_has_none():
    split = Split(("a", "b"), ("a", "b"), np.zeros((2, 1), np.int8), ("cat",))
    assert split.take([1]).boxes is None
    assert split.take([1]).proposals is None


def test_take_of_nothing_is_empty():
    assert len(make_split(3).take([])) == 0


def test_hold_out_divides_the_images_and_keeps_their_order():
    rest, held = make_split(50).hold_out(0.1, seed=0)
    assert len(held) == 5
    numbers = [[int(name[:-4]) for name in part.names] for part in (rest, held)]
    assert sorted(numbers[0] + numbers[1]) == list(range(50))
    assert all(part == sorted(part) for part in numbers)


def test_hold_out_depends_on_the_seed_alone():
    split = make_split(50)
    assert split.hold_out(0.1, 0)[1].names == split.hold_out(0.1, 0)[1].names
    assert split.hold_out(0.1, 0)[1].names != split.hold_out(0.1, 1)[1].names


@pytest.mark.parametrize(("fraction", "held"), [(0.0, 1), (0.01, 1), (1.0, 2)])
def test_hold_out_leaves_both_parts_an_image(fraction, held):
    assert len(make_split(3).hold_out(fraction, 0)[1]) == held


def test_one_image_cannot_be_divided():
    with pytest.raises(ValueError, match="two or more"):
        make_split(1).hold_out(0.1, 0)


@pytest.mark.parametrize("shape", [(2, 2), (3, 1)])
def test_labels_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="one name and one row of labels per image"):
        Split(tuple("abc"), tuple("abc"), np.zeros(shape, np.int8), ("cat", "dog"))


def test_files_of_one_name_get_numbers():
    paths = ["2023/a.jpg", "2024/a.jpg", "b.png", "a-2.jpg", "2025/a.jpg"]
    names = file_names(paths)
    assert names == ["a.jpg", "a-2.jpg", "b.png", "a-2-2.jpg", "a-3.jpg"]
    assert file_names(paths, ".png")[:3] == ["a.png", "a-2.png", "b.png"]


@pytest.mark.parametrize(
    "path", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "C:\\\\a.jpg", "", 3]
)
def test_paths_do_not_leave_the_data_folder(path):
    with pytest.raises(ValueError, match="does not lie in the data folder"):
        path_inside(path, "row 2")
    assert path_inside("a\\b.jpg", "row 2") == path_inside("./a/b.jpg", "row 2")


def labelled(others=None):
    return Split(
        images=("a", "b"),
        names=("a", "b"),
        labels=np.array([[1, 0], [-1, 1]], np.int8),
        label_names=("dog", "cat"),
        boxes=({"dog": np.zeros((1, 4), np.float32)}, {}),
        others=None if others is None else np.array(others, np.int8),
    )


def test_labels_are_put_into_the_order_of_the_model():
    split = labelled().with_labels(("cat", "dog"))
    np.testing.assert_array_equal(split.labels, [[0, 1], [1, -1]])
    assert split.label_names == ("cat", "dog")
    assert split.notes == ()


def test_labels_that_the_data_lack_are_absent_where_labels_are_listed():
    split = labelled(others=[0, -1]).with_labels(("fox", "cat", "dog"))
    np.testing.assert_array_equal(split.labels, [[0, 0, 1], [-1, 1, -1]])
    (note,) = split.notes
    assert note.endswith("taken as absent in 1 images and unknown in 1 images: fox")


def test_labels_that_the_data_lack_are_unknown_otherwise():
    split = labelled().with_labels(("dog", "fox"))
    np.testing.assert_array_equal(split.labels, [[1, -1], [-1, -1]])


def test_labels_that_the_model_lacks_are_left_out_and_named():
    split = labelled().with_labels(("cat",))
    np.testing.assert_array_equal(split.labels, [[0], [1]])
    assert split.boxes == ({}, {})
    (note,) = split.notes
    assert note.startswith("1 of 2 labels are not among the 1 of the model")
    assert note.endswith("present in 1 images: dog")


def test_data_without_a_label_of_the_model_are_refused():
    with pytest.raises(ValueError, match=r"Expected some of its 1: fox.* dog, cat"):
        labelled().with_labels(("fox",))


def test_hold_out_gives_both_parts_a_rare_label():
    labels = np.zeros((100, 2), np.int8)
    labels[:2, 0] = labels[:50, 1] = 1
    names = tuple(f"{i}.jpg" for i in range(100))
    for seed in range(5):
        rest, held = Split(names, names, labels, ("cat", "dog")).hold_out(0.1, seed)
        assert len(held) == 10
        assert rest.labels[:, 0].sum() == held.labels[:, 0].sum() == 1


def test_hold_out_at_random_is_that_of_earlier_versions():
    order = np.random.default_rng(3).permutation(50)
    rest, held = make_split(50).hold_out(0.1, 3, "random")
    assert held.names == tuple(f"{i}.jpg" for i in sorted(order[:5]))
    assert rest.names == tuple(f"{i}.jpg" for i in sorted(order[5:]))


@pytest.mark.parametrize("labels", [1, 2, 17])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 10])
def test_the_digest_is_that_of_names_and_labels_as_json(count, labels, monkeypatch):
    # Runs have recorded it, so that it must not change.
    monkeypatch.setattr(split_module, "ROWS_AT_ONCE", 3)
    split = make_split(count)
    marks = np.random.default_rng(0).integers(-1, 2, (count, labels), np.int8)
    usual = Split(split.images, split.names, marks, tuple("abcdefghijklmnopq"[:labels]))
    for each in (split, usual):
        text = json.dumps([each.names, each.labels.tolist()])
        assert each.digest == hashlib.sha256(text.encode()).hexdigest()
