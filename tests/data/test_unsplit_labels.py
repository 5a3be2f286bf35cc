"""Tests finding labels that are several labels."""

import pytest

from ram_tf.data.csv_reader import unsplit_labels


def check(*names, allowed=()):
    return unsplit_labels.check(
        {name: f"row {i}" for i, name in enumerate(names)}, allowed
    )


@pytest.mark.parametrize(
    "name",
    [
        *("red,blue", "red, blue", "red|blue", "red/blue", "red\tblue", "red & blue"),
        *("red+blue", "red blue", "red\uff0cblue", "red,blue,red"),
    ],
)
def test_a_label_of_other_labels_is_refused(name):
    with pytest.raises(ValueError, match=r"row 2 seems to be several.*'red") as refused:
        check("red", "blue", name)
    assert "labels.txt" in str(refused.value)


@pytest.mark.parametrize("name", ["red,green", "red|green", "red green", "a/b"])
def test_a_label_with_a_separator_is_told(name):
    (note,) = check("red", "blue", name)
    assert repr(name) in note


def test_a_space_is_part_of_names_if_one_is_no_list():
    (note,) = check("coffee", "table", "coffee table", "traffic light")
    assert note.startswith("2 labels contain")


@pytest.mark.parametrize("name", ["black-white", "black_white"])
def test_a_hyphen_is_suspicious_between_labels_only(name):
    assert name in check("black", "white", name)[0]
    assert check("black", name) == ()


@pytest.mark.parametrize("name", ["red,blue", "red blue", "red|blue"])
def test_a_list_of_labels_says_that_a_name_is_one(name):
    assert check("red", "blue", name, allowed=("red", "blue", name)) == ()


def test_plain_names_are_not_told():
    assert check("red", "blue", "t-shirt") == ()


def test_a_column_may_have_any_name():
    assert unsplit_labels.check({"red,blue": None, "red": None, "blue": None}) == ()
