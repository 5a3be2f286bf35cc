"""Tests decoding against Pillow."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from ram_tf.data.images.decoding import MAX_PIXELS, decode_image
from ram_tf.runs.settings import DataSettings
from tests.support.image_files import encode, noise, smooth

BAD = tf.errors.InvalidArgumentError


def rgb_by_pillow(encoded):
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize(
    ("image", "tolerance"),
    [
        pytest.param(encode(smooth(), "JPEG", quality=95), 5, id="jpeg"),
        pytest.param(
            encode(smooth(), "JPEG", quality=95, progressive=True), 5, id="progressive"
        ),
        pytest.param(encode(smooth(channels=1), "JPEG"), 5, id="grey jpeg"),
        pytest.param(
            encode(PIL.Image.fromarray(smooth(channels=4), "CMYK"), "JPEG", quality=95),
            5,
            id="cmyk jpeg",
        ),
        pytest.param(encode(noise(7, 9)), 0, id="png"),
        pytest.param(encode(noise(7, 9)[..., 0]), 0, id="grey png"),
        *(
            pytest.param(
                encode(PIL.Image.fromarray(noise(7, 9)).quantize(2**bits)),
                0,
                id=f"palette png of {bits} bits",
            )
            for bits in (1, 2, 4, 8)
        ),
        pytest.param(
            encode(PIL.Image.fromarray(noise(7, 9)).convert("1")), 0, id="bilevel png"
        ),
        pytest.param(encode(noise(1, 1)), 0, id="one pixel"),
    ],
)
def test_decoded_pixels_equal_those_of_pillow(image, tolerance):
    decoded = decode_image(image)
    expected = rgb_by_pillow(image)
    assert decoded.dtype == tf.uint8
    assert decoded.shape == expected.shape
    np.testing.assert_allclose(decoded.numpy().astype(int), expected, atol=tolerance)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpegs_are_decoded_bit_for_bit_as_by_pillow(subsampling):
    encoded = encode(noise(40, 56), "JPEG", quality=90, subsampling=subsampling)
    np.testing.assert_array_equal(decode_image(encoded), rgb_by_pillow(encoded))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(mode):
    if mode == "P":
        image = PIL.Image.fromarray(noise(7, 9)).quantize(16)
        image.info["transparency"] = bytes(range(0, 256, 16))
    else:
        image = PIL.Image.fromarray(noise(7, 9, len(mode)), mode)
    encoded = encode(image)
    layer = PIL.Image.open(io.BytesIO(encoded)).convert("RGBA")
    white = PIL.Image.new("RGBA", layer.size, "white")
    expected = PIL.Image.alpha_composite(white, layer).convert("RGB")
    decoded = decode_image(encoded).numpy().astype(int)
    np.testing.assert_allclose(decoded, np.asarray(expected), atol=1)
    assert np.ptp(decoded) > 0


def test_sixteen_bits_are_reduced_to_eight():
    values = np.random.default_rng(0).integers(0, 65536, (6, 5), "uint16")
    encoded = encode(PIL.Image.fromarray(values))
    assert PIL.Image.open(io.BytesIO(encoded)).mode == "I;16"
    decoded = decode_image(encoded).numpy()
    # libpng may cut or round.
    np.testing.assert_allclose(decoded[..., 0], values / 257, atol=1)
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"This is no image, whatever its name says.\n", id="text"),
        pytest.param(b"", id="empty"),
        pytest.param(encode(noise(8, 8), "GIF"), id="gif"),
        pytest.param(encode(noise(8, 8), "BMP"), id="bmp"),
        pytest.param(encode(noise(64, 64), "JPEG")[:600], id="truncated jpeg"),
        pytest.param(encode(noise(64, 64))[:600], id="truncated png"),
        pytest.param(encode(noise(64, 64), "JPEG")[:10], id="head of a jpeg"),
        pytest.param(encode(noise(64, 64))[:10], id="head of a png"),
        pytest.param(b"\xff\xd8\xff" + bytes(500), id="jpeg of zeros"),
    ],
)
def test_files_that_are_not_a_complete_jpeg_or_png_are_refused(content):
    with pytest.raises(BAD):
        decode_image(content)


@pytest.mark.parametrize("content", [b"text", b"", encode(noise(8, 8), "GIF")])
def test_the_error_distinguishes_another_format_from_a_broken_file(content):
    with pytest.raises(BAD, match="Not a JPEG or PNG image"):
        decode_image(content)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lacking", [1, 2])
@pytest.mark.parametrize("graph", [False, True])
def test_a_jpeg_without_its_end_is_accepted_on_request(progressive, lacking, graph):
    whole = encode(smooth(), "JPEG", progressive=progressive)
    decode = tf.function(decode_image) if graph else decode_image
    cut = tf.constant(whole[:-lacking])
    with pytest.raises(BAD):
        decode(cut)
    accepted = decode(cut, truncated="accept")
    np.testing.assert_array_equal(accepted, decode_image(whole))


def test_missing_pixels_of_a_truncated_jpeg_become_one_grey():
    whole = encode(noise(200, 160), "JPEG")
    decoded = decode_image(whole[: len(whole) // 2], truncated="accept").numpy()
    expected = decode_image(whole).numpy()
    np.testing.assert_array_equal(decoded[:80], expected[:80])
    assert np.ptp(decoded[120:]) == 0


@pytest.mark.parametrize("lacking", [*range(1, 8), 12])
def test_a_png_without_its_end_is_accepted_on_request(lacking):
    whole = encode(noise(7, 9))
    with pytest.raises(BAD):
        decode_image(whole[:-lacking])
    accepted = decode_image(whole[:-lacking], truncated="accept")
    np.testing.assert_array_equal(accepted, decode_image(whole))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encode(noise(64, 64))[:600], id="png without pixels"),
        pytest.param(encode(noise(64, 64), "JPEG")[:100], id="head of a jpeg"),
        pytest.param(b"\xff\xd8\xff" + bytes(500), id="jpeg of zeros"),
        pytest.param(b"text", id="text"),
    ],
)
def test_files_without_pixels_are_never_accepted(content):
    with pytest.raises(BAD):
        decode_image(content, truncated="accept")


@pytest.mark.parametrize("image", [encode(noise(7, 9)), encode(smooth(), "JPEG")])
def test_whole_files_do_not_change_by_accepting_truncated_ones(image):
    accepted = decode_image(image, truncated="accept")
    np.testing.assert_array_equal(accepted, decode_image(image))
    behind = decode_image(image + b"more", truncated="accept")
    np.testing.assert_array_equal(behind, accepted)


def test_photographs_of_fifty_megapixels_are_allowed_by_default():
    # A Canon 5DS writes 8688 x 5792 pixels, telephones 8192 x 6144.
    assert max(8688 * 5792, 8192 * 6144) < MAX_PIXELS == DataSettings().max_pixels


def huge_png(height, width):
    """Returns the header of a PNG, without pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + checksum


def huge_jpeg(height, width):
    """Returns a small JPEG with another size in its header."""
    encoded = encode(noise(8, 8), "JPEG")
    at = encoded.index(b"\xff\xc0") + 5  # behind marker, length and precision
    return encoded[:at] + struct.pack(">HH", height, width) + encoded[at + 4 :]


@pytest.mark.parametrize("make", [huge_png, huge_jpeg])
@pytest.mark.parametrize("graph", [False, True])
def test_more_than_max_pixels_is_refused_without_decoding(make, graph):
    decode = tf.function(decode_image) if graph else decode_image
    with pytest.raises(BAD, match="max_pixels") as refused:
        decode(tf.constant(make(65000, 60000)))
    if not graph:
        assert "65000" in str(refused.value)


def test_a_size_beyond_32_bits_is_refused():
    with pytest.raises(BAD, match="max_pixels"):
        decode_image(huge_png(2**31 - 1, 2**31 - 1))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_exactly_max_pixels_is_allowed(form):
    encoded = encode(noise(6, 10), form)
    assert decode_image(encoded, 60).shape == (6, 10, 3)
    with pytest.raises(BAD, match="max_pixels"):
        decode_image(encoded, 59)
