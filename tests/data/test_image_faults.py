"""Tests what is said of files that are no readable image."""

import io
import zipfile

import pytest
from PIL import Image

from fuzz import pictures
from ram_tf.data.images import image_faults
from ram_tf.data.images.image_faults import find_fault, find_fault_of_file, format_of
from tests.support.decompression_bombs import BOMBS
from tests.support.image_files import encode, noise

LIMIT = 80_000_000
PNG = pictures.encoded("PNG")


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", pictures.JPEG)
    return file.getvalue()


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        *((form, form) for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "AVIF")),
        ("WEBP", "WebP"),
        ("JPEG2000", "JPEG 2000"),
    ],
)
def test_formats_are_known_by_their_first_bytes(form, name):
    encoded = encode(noise(16, 16), form)
    assert format_of(encoded) == name
    if name not in ("JPEG", "PNG"):
        assert f" {name} file" in find_fault(encoded, LIMIT).detail


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_photographs_of_iphones_are_named(brand):
    head = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic"
    assert find_fault(head + bytes(99), LIMIT).detail.startswith("a HEIC file")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty: 0 bytes"),
        (bytes(5000), "zeros"),
        (b"\n<!DOCTYPE html><html><body>403", "web page"),
        (b"<html><head><title>Login", "web page"),
        ('{"error": "nicht erlaubt, später"}'.encode(), "text"),
        ("größer".encode("utf-16"), "text"),
        (b'<?xml version="1.0"?><svg width="9">', "SVG"),
        (b"%PDF-1.7\n\x80", "a PDF"),
        (zipped(), "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a film"),
        (b"\0\x05\x16\x07\0\2\0\0Mac OS X", "side file of a Mac"),
        (b"\x80\x01\x02\x03", "it begins with 80 01 02 03"),
    ],
)
def test_what_is_no_image_is_named(content, expected):
    assert expected in find_fault(content, LIMIT).detail


@pytest.mark.parametrize(
    "cut", [pictures.JPEG[:-1], pictures.JPEG[:-2], pictures.PROGRESSIVE[:-40]]
)
def test_a_jpeg_without_its_last_bytes_is_called_cut_off_with_the_flag(cut):
    detail = find_fault(cut, LIMIT).detail
    assert detail.startswith("cut off")
    assert "--truncated accept" in detail
    assert "--truncated" not in find_fault(cut, LIMIT, "accept").detail


def test_a_jpeg_without_pixels_cannot_be_mended():
    detail = find_fault(pictures.JPEG[:200], LIMIT).detail
    assert detail.startswith("cut off")
    assert "--truncated" not in detail


@pytest.mark.parametrize("whole", [pictures.JPEG, pictures.PROGRESSIVE, PNG])
def test_a_file_with_its_end_is_called_damaged_not_cut_off(whole):
    assert find_fault(whole, LIMIT).detail.startswith("damaged")
    assert find_fault(whole + b"more", LIMIT).detail.startswith("damaged")


def test_the_end_of_an_embedded_thumbnail_is_not_that_of_the_image():
    thumbnail = encode(noise(4, 4), "JPEG")
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    cut = pictures.JPEG[:2] + segment + pictures.JPEG[2:-2]
    assert find_fault(cut, LIMIT).detail.startswith("cut off")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PNG[:20], "cut off"),
        (PNG[:-30], "cut off"),
        (PNG[:-12], "--truncated accept"),
        (flipped(PNG, len(PNG) - 40), "chunk IDAT differs from its checksum"),
        (PNG[:12] + b"CgBI" + PNG[16:], "Apple"),
    ],
)
def test_a_broken_png_is_called_cut_off_or_damaged(content, expected):
    assert expected in find_fault(content, LIMIT).detail


@pytest.mark.parametrize("content", [pictures.JPEG, PNG])
def test_too_many_pixels_are_named_with_the_flag_that_allows_more(content):
    fault = find_fault(content, 400)
    assert fault.reason == "too many pixels"
    assert fault.detail == "24 x 17 = 408 pixels, more than --max_pixels 400"


@pytest.mark.parametrize("bomb", [bomb for bomb, _ in BOMBS.values()], ids=BOMBS)
def test_the_fault_of_a_decompression_bomb_is_found(bomb):
    fault = find_fault(bomb, LIMIT)
    assert fault.reason in image_faults.REASONS
    assert fault.detail


def test_files_that_cannot_be_opened_have_their_reason(tmp_path):
    def reason(path):
        return find_fault_of_file(path, LIMIT).reason

    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "none.jpg") == "missing"
    assert reason(tmp_path) == "reading error"
    assert reason("a\0b.jpg") == "reading error"
    assert reason(tmp_path / "empty.jpg") == "empty"


def test_a_file_too_large_for_an_image_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(image_faults, "MAX_BYTES", 10)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    assert "more than 10 bytes" in find_fault_of_file(tmp_path / "a.png", LIMIT).detail


@pytest.mark.parametrize("content", [*pictures.VALID, *pictures.OTHERS])
def test_bytes_cut_anywhere_have_a_fault_in_words(content):
    for end in range(0, len(content), max(1, len(content) // 200)):
        fault = find_fault(content[:end], LIMIT)
        assert fault.reason in image_faults.REASONS
        assert fault.detail.isprintable()
