"""Builds image files, valid and invalid, and small files that decode to large ones."""

import io
import struct
import zlib

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fuzz.mutations import spoilt

SIZES = (0, 1, 7, 500, 501, 50_000, 65_500, 65_501, 900_000, 2**31 - 1, 2**32 - 1)
NAMES = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"zTXt", b"iCCP", b"abCd")
BOMB = b"a\0\0" + zlib.compress(b"\0" * 500_000, 9)
# More than any valid picture here has, few enough for ten thousand inputs.
MAX_PIXELS = 250_000


def encoded(form, mode="RGB", size=(24, 17), **options):
    """Returns the bytes of an image of noise, written by Pillow."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), "uint8")
    Image.fromarray(noise).convert(mode).save(file, form, **options)
    return file.getvalue()


def png(width, height, depth, colour, extra=(), content=b""):
    """Returns a PNG with the given header fields and extra chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", content), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks)


def _chunk(name, content):
    length, checksum = len(content), zlib.crc32(name + content)
    return struct.pack(">I", length) + name + content + struct.pack(">I", checksum)


def with_size(jpeg, height, width):
    """Returns a JPEG with another size in its frame header."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def with_scans(jpeg, count):
    """Returns a progressive JPEG with `count` copies of its last scan added."""
    start, end = jpeg.rfind(b"\xff\xda"), jpeg.rfind(b"\xff\xd9")
    return jpeg[:end] + jpeg[start:end] * count + jpeg[end:]


def rotated_exif():
    """Returns Exif data with an orientation of a quarter turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


JPEG = encoded("JPEG")
PROGRESSIVE = encoded("JPEG", progressive=True)
GIF = encoded("GIF", "P")
VALID = (
    *(JPEG, PROGRESSIVE, encoded("JPEG", "L"), encoded("JPEG", "CMYK")),
    encoded("JPEG", exif=rotated_exif()),
    *(encoded("PNG"), encoded("PNG", "RGBA"), encoded("PNG", "P")),
    *(encoded("PNG", "1"), encoded("PNG", "I;16"), encoded("PNG", "LA")),
)
OTHERS = (GIF, encoded("BMP"), GIF[:-1] + GIF[13:-1] * 500 + b";", encoded("WEBP"))


def inputs():
    """Draws bytes, some of which are images."""
    side = st.sampled_from(SIZES)
    small = st.binary(max_size=64) | st.just(BOMB)
    extra = st.lists(st.tuples(st.sampled_from(NAMES), small), max_size=3)
    zeros = st.sampled_from((0, 100, 1_000_000)).map(lambda n: zlib.compress(bytes(n)))
    built = st.builds(
        png,
        side,
        side,
        st.sampled_from((0, 1, 2, 4, 8, 16, 200)),
        st.sampled_from((0, 2, 3, 4, 6, 9)),
        extra,
        zeros,
    )
    edge = st.integers(0, 65_535)
    jpegs = st.builds(with_size, st.sampled_from((JPEG, PROGRESSIVE)), edge, edge)
    scans = st.builds(with_scans, st.just(PROGRESSIVE), st.integers(0, 100))
    file = spoilt(*VALID, *OTHERS)
    return st.one_of(file, file, built, jpegs, scans, st.sampled_from(VALID + OTHERS))
