"""Tests the conversion of other formats to PNG."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fuzz import pictures
from ram_tf.data.images import conversion
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.image_faults import Fault
from tests.support.image_files import encode, noise, smooth
from tests.support.memory_use import Taken

LIMIT = 80_000_000
EXACT = {"WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}


def converted(encoded):
    return decode_image(conversion.to_png(encoded, LIMIT)).numpy().astype(int)


@pytest.mark.parametrize("form", EXACT)
def test_converted_pixels_are_those_of_the_file(form):
    image = noise(7, 9)
    encoded = encode(image, form, **EXACT[form])
    np.testing.assert_array_equal(converted(encoded), image)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff_is_converted(compression):
    image = smooth()
    encoded = encode(image, "TIFF", compression=compression)
    np.testing.assert_array_equal(converted(encoded), image)


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_the_first_frame_is_taken(form):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    encoded = encode(frames[0], form, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(converted(encoded).mean((0, 1)), [255, 0, 0], atol=4)


@pytest.mark.parametrize("form", ["WEBP", "TIFF"])
def test_the_image_is_turned_upright(form):
    image = noise(7, 9)
    encoded = encode(image, form, exif=pictures.rotated_exif(), **EXACT[form])
    np.testing.assert_array_equal(converted(encoded), np.rot90(image, -1))


@pytest.mark.parametrize("form", ["WEBP", "TIFF"])
def test_transparent_pixels_become_white(form):
    image = noise(7, 9, 4)
    image[:3, :, 3] = 0
    pixels = converted(encode(Image.fromarray(image, "RGBA"), form, **EXACT[form]))
    np.testing.assert_array_equal(pixels[:3], 255)


def test_a_transparent_colour_of_a_gif_becomes_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    pixels = converted(encode(image, "GIF", transparency=1))
    np.testing.assert_array_equal(pixels[1:], 255)
    np.testing.assert_array_equal(pixels[0, 0], 0)


def test_sixteen_bits_are_reduced_to_eight():
    values = np.random.default_rng(0).integers(0, 65536, (6, 5), "uint16")
    pixels = converted(encode(Image.fromarray(values), "TIFF"))
    np.testing.assert_allclose(pixels[..., 0], values / 257, atol=1)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_colours_without_a_range_are_refused(mode):
    fault = conversion.to_png(encode(Image.new(mode, (4, 4)), "TIFF"), LIMIT)
    assert isinstance(fault, Fault)
    assert f"kind {mode}" in fault.detail


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "TIFF"])
def test_more_than_max_pixels_is_refused(form):
    encoded = encode(noise(6, 10), form)
    assert isinstance(conversion.to_png(encoded, 60), bytes)
    fault = conversion.to_png(encoded, 59)
    assert fault.reason == "too many pixels"
    assert "--max_pixels 59" in fault.detail


def bombs():
    webp = bytearray(encode(noise(6, 6), "WEBP", lossless=True))
    webp[21:25] = (0x0FFFFFFF).to_bytes(4, "little")  # 16,384 x 16,384
    gif = bytearray(pictures.GIF)
    gif[6:10] = b"\xff\xff\xff\xff"
    bmp = bytearray(encode(noise(6, 6), "BMP"))
    bmp[18:26] = 2 * (60_000).to_bytes(4, "little")
    return {"webp": webp, "gif": gif, "bmp": bmp, "tiles": tiff_of_tiles(30_000)}


def tiff_of_tiles(edge):
    """Returns a grey TIFF of 6 x 6 pixels in one deflated tile of another edge."""
    content = zlib.compress(bytes(36))
    tags = {256: 6, 257: 6, 258: 8, 259: 8, 262: 1, 277: 1, 322: edge, 323: edge}
    tags |= {324: 8 + 2 + 12 * 10 + 4, 325: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + content


@pytest.mark.parametrize("name", bombs())
def test_a_decompression_bomb_is_refused_before_memory_is_taken(name):
    taken = Taken()
    fault = conversion.to_png(bytes(bombs()[name]), LIMIT)
    assert fault.reason == "too many pixels"
    assert taken.most < 100


def test_pillows_own_limit_does_not_refuse_what_max_pixels_allows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert isinstance(conversion.to_png(encode(noise(9, 9), "BMP"), 81), bytes)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_files_have_a_fault_in_words(form):
    encoded = encode(noise(24, 24), form)
    random = np.random.default_rng(0)
    for end in range(12, len(encoded) - 1, max(1, len(encoded) // 50)):
        cut = conversion.readable(encoded[:end], LIMIT)
        assert isinstance(cut, bytes) or cut.detail.isprintable()
        spoilt = bytearray(encoded)
        spoilt[random.integers(12, len(encoded))] ^= 255
        found = conversion.readable(bytes(spoilt), LIMIT)
        assert isinstance(found, bytes | Fault)


def test_jpeg_and_png_and_other_bytes_are_left_as_they_are():
    for content in (pictures.JPEG, pictures.encoded("PNG"), b"text", b""):
        assert conversion.readable(content, LIMIT) is content


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}])
def test_the_size_of_a_webp_is_read_before_pillow_takes_memory(options, monkeypatch):
    encoded = encode(noise(6, 10), "WEBP", **options)

    def refuse(*arguments, **named):
        raise AssertionError("opened")

    monkeypatch.setattr(conversion.Image, "open", refuse)
    assert "10 x 6 = 60 pixels" in conversion.to_png(encoded, 59).detail
