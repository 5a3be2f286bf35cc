"""Small files that ask for gigabytes or for hours, full size, and their neighbours."""

import io
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from fuzz import pictures
from ram_tf import header
from ram_tf.preprocessing import decode_image, find_unreadable
from ram_tf.split import Split

SMALL = pictures.encoded("PNG")
HIDDEN = pictures.png(
    # The first chunk says one pixel, in the place of the header; libpng passes over it.
    *(20_000, 20_000, 8, 0),
)
HIDDEN = (
    HIDDEN[:8] + pictures.png(1, 1, 8, 2)[8:33].replace(b"IHDR", b"abCd") + HIDDEN[8:]
)
NOTE = b"a\0\0" + zlib.compress(b"\0" * 7_900_000, 9)
BOMBS = {
    "png": (pictures.png(50_000, 50_000, 8, 2), "max_pixels"),
    "png of 16 bits": (pictures.png(50_000, 50_000, 16, 6), "max_pixels"),
    "jpeg": (pictures.with_size(pictures.JPEG, 50_000, 50_000), "max_pixels"),
    "progressive": (
        pictures.with_size(pictures.PROGRESSIVE, 50_000, 50_000),
        "max_pixels",
    ),
    "a product beyond 64 bits": (pictures.png(2**32 - 1, 2**32 - 1, 8, 2), "side"),
    "a strip": (pictures.png(900_000, 1, 8, 0), "side"),
    "a size behind another chunk": (HIDDEN, "Not a JPEG or PNG"),
    "deflated notes": (
        pictures.png(8, 8, 8, 0, [(b"zTXt", NOTE)] * 1000),
        "compressed notes",
    ),
    "scans": (
        pictures.with_scans(
            pictures.with_size(pictures.PROGRESSIVE, 7000, 7000), 10_000
        ),
        "scans",
    ),
    "bmp": (pictures.encoded("BMP"), "Not a JPEG or PNG"),
    "gif of many pictures": (
        pictures.GIF[:-1] + pictures.GIF[13:-1] * 5000 + b";",
        "Not a JPEG or PNG",
    ),
}


@pytest.mark.parametrize(("bomb", "said"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_by_what_it_says(bomb, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        decode_image(bomb)


def test_bombs_are_left_out_of_a_pipeline_and_take_no_memory():
    images = [SMALL, *(bomb for bomb, _ in BOMBS.values()), SMALL]
    split = Split(
        images=tuple(images),
        names=tuple(map(str, range(len(images)))),
        labels=np.zeros((len(images), 1), np.int8),
        label_names=("a",),
    )
    assert find_unreadable(split).tolist() == [*range(1, len(images) - 1)]


def test_what_encoders_write_has_few_scans_and_notes():
    jpeg = pictures.encoded("JPEG", size=(200, 100), progressive=True)
    assert jpeg.count(header.START_OF_SCAN) <= header.MAX_SCANS // 3
    assert decode_image(jpeg).shape == (100, 200, 3)
    noted = pictures.png(2, 2, 8, 0, [(b"zTXt", b"a\0\0" + zlib.compress(b"x"))] * 16)
    with pytest.raises(tf.errors.InvalidArgumentError, match="PNG"):
        decode_image(noted)  # It has no pixels; its notes are none too many.


def test_the_longest_side_is_allowed():
    file = io.BytesIO()
    PIL.Image.new("L", (header.MAX_SIDE, 1)).save(file, "PNG")
    assert decode_image(file.getvalue()).shape == (1, header.MAX_SIDE, 3)
