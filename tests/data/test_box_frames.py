"""Tests turning boxes with photographs that EXIF turns."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from ram_tf.data.images import box_frames, exif
from ram_tf.data.images.decoding import decode_image
from tests.support.image_files import encode

# xmin, ymin, xmax, ymax of a red rectangle in a stored picture of 80 x 60 pixels.
RED = (8, 4, 28, 34)
BOX = np.array([[4 / 60, 8 / 80, 34 / 60, 28 / 80]])


def photograph(orientation, size=(80, 60)):
    """Returns a JPEG, grey with a red rectangle, with an EXIF orientation."""
    image = Image.new("RGB", size, (128, 128, 128))
    image.paste((255, 0, 0), RED)
    note = Image.Exif()
    note[exif.ORIENTATION] = orientation
    return encode(image, "JPEG", quality=95, subsampling=0, exif=note)


def box_of_red(image):
    """Returns where an image is red, as `ymin, xmin, ymax, xmax` fractions."""
    image = np.asarray(image).astype(int)
    rows, columns = np.nonzero(image[..., 0] - image[..., 2] > 100)
    height, width = image.shape[:2]
    box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    return np.array([box]) / [height, width, height, width]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_turned_as_pillow_turns_pictures(orientation):
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(photograph(orientation))))
    found = box_frames.upright_boxes(BOX, orientation)
    np.testing.assert_allclose(found, box_of_red(turned), atol=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_stored_pixels_lie_where_the_decoder_puts_them(tmp_path, orientation):
    (tmp_path / "a.jpg").write_bytes(photograph(orientation))
    paths, boxes = [tmp_path / "a.jpg"], [{"red": BOX}]
    (turned,), notes = box_frames.turn_with_images(paths, [(80, 60)], boxes)
    expected = box_of_red(decode_image(photograph(orientation)))
    np.testing.assert_allclose(turned["red"], expected, atol=0.02)
    assert bool(notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("size", [(60, 80), (30, 40), (61, 80)])
def test_boxes_drawn_on_the_upright_picture_are_not_turned(tmp_path, orientation, size):
    (tmp_path / "a.jpg").write_bytes(photograph(orientation))
    paths, boxes = [tmp_path / "a.jpg"], [{"red": BOX}]
    assert box_frames.turn_with_images(paths, [size], boxes) == (boxes, ())


def test_where_the_size_cannot_tell_other_pictures_of_the_split_do(tmp_path):
    paths = [tmp_path / f"{orientation}.jpg" for orientation in (3, 6)]
    for path, orientation in zip(paths, (3, 6), strict=True):
        path.write_bytes(photograph(orientation))
    boxes = [{"red": BOX}] * 2

    def turned(size):
        return box_frames.turn_with_images(paths, [(80, 60), size], boxes)

    (upside_down, _), notes = turned((60, 80))
    np.testing.assert_array_equal(upside_down["red"], BOX)
    assert "1 images are turned upright by EXIF to the size they had" in notes[-1]
    assert notes[-1].endswith("drawn after turning")
    (upside_down, _), notes = turned((80, 60))
    np.testing.assert_allclose(
        upside_down["red"], box_frames.upright_boxes(BOX, 3), rtol=1e-6
    )
    assert notes[-1].endswith("drawn before turning")


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_boxes_of_a_picture_of_another_shape_are_left_out(tmp_path, orientation):
    (tmp_path / "a.jpg").write_bytes(photograph(orientation))
    size = (60, 80) if orientation < 5 else (80, 80)
    paths, boxes = [tmp_path / "a.jpg"], [{"red": BOX}]
    turned, (note,) = box_frames.turn_with_images(paths, [size], boxes)
    assert turned == [{}]
    assert note.startswith("1 images have another shape than their annotations say")
    assert f"(80 x 60, not {size[0]} x {size[1]})" in note


def test_pictures_without_boxes_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(box_frames, "read_frame", None)  # a call would fail
    boxes = [{}, {"red": BOX}]
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert box_frames.turn_with_images(paths, [(8, 6), None], boxes) == (boxes, ())


@pytest.mark.parametrize("content", [None, b"", b"GIF89a", b"\xff\xd8\xff\xe0\0\x10"])
def test_boxes_of_what_is_no_image_stay(tmp_path, content):
    path, boxes = tmp_path / "a.jpg", [{"red": BOX}]
    if content is not None:
        path.write_bytes(content)
    assert box_frames.turn_with_images([path], [(80, 60)], boxes) == (boxes, ())


def test_the_size_is_found_behind_large_notes_and_in_a_png(tmp_path):
    path = tmp_path / "a"
    whole = photograph(6)
    large = b"\xff\xe2\xff\xff" + bytes(0xFFFD)
    path.write_bytes(whole[:2] + b"\xff" + whole[2:])  # with a fill byte
    assert box_frames.read_frame(path) == (80, 60, 6)
    end = whole.index(b"\xff\xdb")
    path.write_bytes(whole[:end] + 5 * large + whole[end:])
    assert box_frames.read_frame(path) == (80, 60, 6)
    path.write_bytes(encode(Image.new("RGB", (7, 5))))
    assert box_frames.read_frame(path) == (7, 5, 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_that_which_the_decoder_reads(tmp_path, order):
    path, random, found = tmp_path / "a.jpg", np.random.default_rng(1), []
    graph = tf.function(exif.orientation, autograph=False).get_concrete_function(
        tf.TensorSpec([], tf.string)
    )
    # A directory with two entries, the second of them the orientation.
    entries = [(0x010F, 2, 1, 0), (exif.ORIENTATION, 3, 1, 6)]
    tiff = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, 2)
    for tag, kind, count, value in entries:
        tiff += struct.pack(f"{order}HHIHxx", tag, kind, count, value)
    start = b"\xff\xd8\xff\xe1\0\x40"
    frame = b"\xff\xc0\0\x11\x08\0\x3c\0\x50" + bytes(10)
    for _ in range(300):
        corrupt = np.frombuffer(tiff, "uint8").copy()
        highest = random.choice([10, 256])  # small numbers may be orientations
        corrupt[random.integers(0, len(tiff), 2)] = random.integers(0, highest, 2)
        content = start + box_frames.MARK + corrupt.tobytes()
        content = content[: random.choice([len(content), random.integers(2, 44)])]
        path.write_bytes(content + frame)
        found.append(box_frames.orientation(path.read_bytes()))
        assert found[-1] == int(graph(tf.constant(path.read_bytes())))
    assert {1, 6} < set(found)
