"""Tests reading the EXIF orientation and turning images."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from ram_tf.data.images import exif
from ram_tf.data.images.decoding import decode_image

ORIENTATION = 0x0112


def jpeg(orientation, order=None, more=()):
    """Returns a JPEG with four different corners, wider than high."""
    pixels = np.zeros((16, 32, 3), "uint8")
    pixels[:8, :16], pixels[:8, 16:], pixels[8:, :16] = 255, (255, 0, 0), (0, 0, 255)
    note = Image.Exif()
    note[ORIENTATION] = orientation
    for tag, value in more:
        note[tag] = value
    if order:
        note.endian = order
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100, subsampling=0, exif=note)
    return file.getvalue()


def by_pillow(encoded):
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
    return np.asarray(turned.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_pillow_turns_them(orientation):
    encoded = jpeg(orientation, more=[(0x010F, "a camera"), (0x0131, "a program")])
    decoded = decode_image(encoded).numpy().astype(int)
    expected = by_pillow(encoded).astype(int)
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).max() <= 3


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order):
    encoded = jpeg(6, order)
    assert (b"II*\0" if order == "<" else b"MM\0*") in encoded
    assert exif.orientation(encoded) == 6


@pytest.mark.parametrize("orientation", [0, 9, 255, 60000])
def test_an_invalid_orientation_turns_nothing(orientation):
    assert exif.orientation(jpeg(orientation)) == exif.UPRIGHT


def test_images_without_an_orientation_are_not_turned():
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "JPEG")
    assert exif.orientation(file.getvalue()) == exif.UPRIGHT
    # In a PNG the same bytes have no meaning.
    assert exif.orientation(b"\x89PNG\r\n\x1a\n" + jpeg(6)) == exif.UPRIGHT


def by_struct(encoded):
    """Reads the orientation with `struct`."""
    tiff = encoded.split(exif.MARK, 1)[1]
    order = "<" if tiff.startswith(b"II") else ">"
    tiff += bytes(8)
    start = struct.unpack_from(f"{order}I", tiff, 4)[0] % (1 << 24)
    if start + 2 > len(tiff):
        return exif.UPRIGHT
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    ends = range(start + 14, min(start + 2 + 12 * count, len(tiff)) + 1, 12)
    for entry in (tiff[end - 12 : end] for end in ends):
        tag, value = struct.unpack_from(f"{order}H6xH", entry)
        if tag == ORIENTATION:
            return value if 1 <= value <= 8 else exif.UPRIGHT
    return exif.UPRIGHT


@pytest.fixture(scope="module")
def read():
    graph = tf.function(exif.orientation, autograph=False).get_concrete_function(
        tf.TensorSpec([], tf.string)
    )
    return lambda encoded: int(graph(tf.constant(encoded)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_corrupt_exif_data_is_read_as_by_struct(read, order):
    whole = jpeg(6, order, more=[(0x010F, "a camera")])
    at = whole.index(exif.MARK) + len(exif.MARK)
    random = np.random.default_rng(0)
    found = []
    for _ in range(300):
        corrupt = np.frombuffer(whole, "uint8").copy()
        highest = random.choice([10, 256])  # small numbers may be orientations
        corrupt[at + random.integers(0, 38, 3)] = random.integers(0, highest, 3)
        found.append(read(corrupt.tobytes()))
        assert found[-1] == by_struct(corrupt.tobytes())
    assert {1, 6} < set(found)


def test_exif_data_that_ends_before_the_orientation_turns_nothing(read):
    whole = jpeg(6)
    at = whole.index(exif.MARK) + len(exif.MARK)
    found = [read(whole[:length]) for length in range(at - 8, at + 26)]
    assert (found[0], found[-1]) == (1, 6)
    assert found == sorted(found)


def test_a_pipeline_turns_each_image_by_its_own_orientation():
    encoded = [jpeg(orientation) for orientation in (1, 8, 3)]
    images = tf.data.Dataset.from_tensor_slices(encoded).map(decode_image)
    for image, file in zip(images, encoded, strict=True):
        assert image.shape == by_pillow(file).shape
