"""Tests reading the text of csv files as spreadsheets and other programs write them."""

import pytest

from ram_tf.data.csv_reader import csv_text

ROWS = [["image", "red", "blue"], ["a b.jpg", "1", "0"], ["c.jpg", "", "1"]]


def written(path, text, encoding="utf-8"):
    path = path / "x.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", csv_text.SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_header_tells_the_separator(tmp_path, separator, end):
    text = end.join(separator.join(row) for row in ROWS) + end
    found = csv_text.read(written(tmp_path, text), "")
    assert found.header == ROWS[0]
    assert [line for _, line in found.lines] == ROWS[1:]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_at_the_beginning_tell_the_encoding(tmp_path, encoding):
    text = "image;Käse\n1.jpg;1\n"
    assert csv_text.read(written(tmp_path, text, encoding), "").header[1] == "Käse"


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("image,labels\n1.jpg,a;b\n", ["image", "labels"]),
        ("image;labels\n1.jpg;a,b\n", ["image", "labels"]),
        ("image,a;b\n1.jpg,1\n", ["image", "a;b"]),
        ("file,a;b;c\n1.jpg,1\n", ["file", "a;b;c"]),
        ("image,a;b;c\n1;2;3.jpg,1\n", ["image", "a;b;c"]),
        ("file;a, dark;b\n1.jpg;1;0\n", ["file", "a, dark", "b"]),
        ("sep=;\nfile;a\n1.jpg;1\n", ["file", "a"]),
        ('"image";"a;b"\n"1.jpg";1\n', ["image", "a;b"]),
    ],
)
def test_a_header_with_several_separators_is_divided_as_its_lines(
    tmp_path, text, header
):
    assert csv_text.read(written(tmp_path, text), "").header == header


def test_empty_cells_at_the_right_are_left_out(tmp_path):
    text = "image,a,,\n1.jpg,1,,\n,,,\n2.jpg,0,,,,\n"
    found = csv_text.read(written(tmp_path, text), "")
    assert found.header == ["image", "a"]
    assert found.lines == [(2, ["1.jpg", "1"]), (4, ["2.jpg", "0"])]


@pytest.mark.parametrize("line", ["1.jpg;1;0;1", "1.jpg;1"])
def test_a_line_of_another_length_is_refused_with_the_separator(tmp_path, line):
    with pytest.raises(ValueError, match=r"row 2 of .* 3 of them.*a semicolon"):
        csv_text.read(written(tmp_path, f"image;a;b\n{line}\n"), "")
