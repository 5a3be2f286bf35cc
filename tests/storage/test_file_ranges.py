"""Tests parts of files."""

import hashlib
import os

import pytest

from ram_tf.storage.file_ranges import FileRanges

CONTENTS = [b"first\0\0", b"", b"third"]


@pytest.fixture
def ranges(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes(b"--" + CONTENTS[0] + CONTENTS[1])
    paths[1].write_bytes(b"-" + CONTENTS[2] + b"---")
    digests = b"".join(hashlib.sha256(each).digest() for each in CONTENTS)
    lengths = [len(each) for each in CONTENTS]
    return FileRanges(map(str, paths), [0, 0, 1], [2, 9, 1], lengths, [*digests])


def test_each_part_is_read_from_its_file(ranges):
    assert [each.read() for each in ranges] == CONTENTS
    assert ranges[0].read_head(3) == b"fir"
    assert ranges[0].read_head(99) == CONTENTS[0]


def test_some_parts_are_taken_in_their_order(ranges):
    assert [each.read() for each in ranges.take([2, 0])] == [CONTENTS[2], CONTENTS[0]]
    assert len(ranges.take([])) == 0


def test_other_bytes_are_refused_with_the_file(ranges):
    part = ranges[2]
    with open(part.path, "r+b") as file:
        file.seek(3)
        file.write(b"?")
    with pytest.raises(ValueError, match=r"has changed or is cut off.*/b$"):
        part.read()


def test_a_file_that_ends_early_is_refused(ranges):
    part = ranges[0]
    os.truncate(part.path, 5)
    with pytest.raises(ValueError, match=r"the 7 bytes from 2 on.*Received: 3 others"):
        part.read()
