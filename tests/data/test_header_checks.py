"""Tests which images are refused without decoding."""

import io
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from fuzz import pictures
from ram_tf.data.images import header_checks
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.scan import find_unreadable
from ram_tf.data.split import Split
from tests.support.decompression_bombs import BOMBS
from tests.support.memory_use import Taken

SMALL = pictures.encoded("PNG")


@pytest.mark.parametrize(("bomb", "message"), BOMBS.values(), ids=BOMBS)
def test_a_decompression_bomb_is_refused(bomb, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode_image(bomb)


def test_decompression_bombs_are_unreadable_and_take_no_memory():
    images = [SMALL, *(bomb for bomb, _ in BOMBS.values()), SMALL]
    split = Split(
        images=tuple(images),
        names=tuple(map(str, range(len(images)))),
        labels=np.zeros((len(images), 1), np.int8),
        label_names=("a",),
    )
    taken = Taken()
    assert find_unreadable(split).tolist() == [*range(1, len(images) - 1)]
    assert taken.most < 300


def test_files_of_usual_encoders_are_not_refused():
    jpeg = pictures.encoded("JPEG", size=(200, 100), progressive=True)
    scans = sum(map(jpeg.count, header_checks.START_OF_SCAN))
    assert 3 <= scans <= header_checks.MAX_SCANS // 3
    assert decode_image(jpeg).shape == (100, 200, 3)
    noted = pictures.png(2, 2, 8, 0, [(b"zTXt", b"a\0\0" + zlib.compress(b"x"))] * 16)
    with pytest.raises(tf.errors.InvalidArgumentError, match="PNG"):
        decode_image(noted)  # without pixels, but not for its notes


def test_random_bytes_behind_a_jpeg_are_not_counted_as_scans():
    # As random as the video of a phone.
    behind = np.random.default_rng(0).bytes(16_000_000)
    assert decode_image(pictures.JPEG + behind).shape == (17, 24, 3)


@pytest.mark.parametrize("picture", [pictures.JPEG, pictures.PROGRESSIVE])
@pytest.mark.parametrize(
    "length", [b"\0\0", b"\0\6", b"\0\7", b"\0\x09", b"\0\x10", b"\1\x08", b"\xff\xff"]
)
def test_a_scan_of_another_length_ends_the_decoding(picture, length):
    at = picture.rfind(b"\xff\xda") + 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid JPEG"):
        decode_image(picture[:at] + length + picture[at + 2 :])


def test_the_longest_side_is_allowed():
    file = io.BytesIO()
    PIL.Image.new("L", (header_checks.MAX_SIDE, 1)).save(file, "PNG")
    assert decode_image(file.getvalue()).shape == (1, header_checks.MAX_SIDE, 3)
