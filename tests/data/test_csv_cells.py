"""Tests reading single cells of csv files."""

import pytest

from ram_tf.data.csv_reader import csv_cells


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "1.0", "True", "true", "TRUE", " 1 ", "1.", "1,0"], 1),
        (["0", "0.0", "False", "false", "-0.0", "0,0"], 0),
        (["", " ", "-1", "-1.0", "nan", "NaN", "NA", "None", "null"], -1),
        (["2", "0.5", "yes", "1_0", "inf", "train", "9" * 500], None),
    ],
)
def test_marks_are_read_as_programs_write_them(cells, expected):
    assert [csv_cells.mark(cell) for cell in cells] == [expected] * len(cells)


@pytest.mark.parametrize(
    "cell", ["a;b c", "['a', 'b c']", '["a","b c"]', "['a' 'b c']", "{'a', 'b c'}"]
)
def test_lists_are_read_as_programs_write_them(cell):
    assert csv_cells.named_marks(cell, "row 2") == {"a": 1, "b c": 1}


def test_an_empty_list_names_no_label():
    assert csv_cells.named_marks("[]", "row 2") == {}


def test_brackets_may_be_part_of_a_name():
    assert csv_cells.named_marks("[a];(b)", "row 2") == {"[a]": 1, "(b)": 1}


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("split", ["train", "Training"], "train"),
        ("split", ["val", "valid", "validation", " VAL "], "val"),
        ("split", ["test", "Test"], "test"),
        ("is_valid", ["True", "true", "1", "1.0"], "val"),
        ("is_valid", ["False", "0", "0.0"], "train"),
    ],
)
def test_splits_have_several_names(column, cells, expected):
    for cell in cells:
        assert csv_cells.split_name(cell, column, "row 2") == expected


@pytest.mark.parametrize(
    ("column", "cell"), [("split", ""), ("split", "fold 1"), ("is_valid", "train")]
)
def test_a_cell_that_names_no_split_is_refused(column, cell):
    with pytest.raises(ValueError, match=f"{column}.*row 2 names no split"):
        csv_cells.split_name(cell, column, "row 2")
