"""Says what the bytes of an image file are, and why they cannot be read.

TensorFlow says only that a file is invalid. Here its bytes are looked at once more,
without decoding, to name the cause: training, evaluation, prediction and batches all
report it in these words.
"""

import re
import zlib
from typing import NamedTuple

from ram_tf.data.images.header_checks import (
    DEFLATED,
    MAX_DEFLATED,
    MAX_SCANS,
    MAX_SIDE,
    PNG_START,
    START_OF_SCAN,
)

# By these, reports count the images that cannot be read.
REASONS = ("missing", "reading error", "empty", "too many pixels", "unreadable")
ACCEPT, REFUSE = "accept", "refuse"  # values of the setting `truncated`
# Ours: no image below `max_pixels` needs more, and a film that was given as an image
# would fill the memory.
MAX_BYTES = 1 << 30
PNG_SIGNATURE = PNG_START[:8]
# Formats that begin with the same bytes in every file.
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (PNG_SIGNATURE, "PNG"),
    *((start, "GIF") for start in (b"GIF87a", b"GIF89a")),
    *((start, "TIFF") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    *((start, "camera raw") for start in (b"IIRO", b"IIU\0", b"FUJIFILMCCD-RAW")),
)
# Brands of files that begin with a box `ftyp`.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
    ),
    b"crx ": "camera raw",
}
# What is no image, by its first bytes.
_OTHERS = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\0\x05\x16\x07", "the side file of a Mac (AppleDouble)"),
    (b"\x1aE\xdf\xa3", "a film (Matroska)"),
    (b"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` gets the file"),
)
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
# Frames of JPEG that TensorFlow's decoder reads: baseline, extended, progressive.
_FRAMES = (0xC0, 0xC1, 0xC2)
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


class Fault(NamedTuple):
    """Why an image cannot be read.

    Args:
        reason: One of `REASONS`.
        detail: The cause in words, to follow the image's name.
    """

    reason: str
    detail: str


def format_of(encoded):
    """Returns the name of an image's format by its first bytes; None if unknown.

    >>> format_of(b"GIF89a...")
    'GIF'
    """
    for start, name in _MAGIC:
        if encoded.startswith(start):
            return name
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WebP"
    # Two letters alone may begin a text; the reserved bytes are zero in each file.
    if encoded[:2] == b"BM" and encoded[6:10] == b"\0\0\0\0" and len(encoded) > 25:
        return "BMP"
    if encoded[4:8] == b"ftyp":
        brands = [encoded[8:12], *(encoded[at : at + 4] for at in range(16, 64, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return None


def find_fault(encoded, max_pixels, truncated=REFUSE):
    """Finds out why an image could not be read from its bytes.

    Args:
        encoded: The bytes of a file that the decoder has refused.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.

    Returns:
        The `Fault`; the last resort is that the file is damaged.
    """
    if not encoded:
        return Fault("empty", "empty: 0 bytes")
    kind = format_of(encoded)
    if kind == "JPEG":
        return _fault_of_jpeg(encoded, max_pixels, truncated)
    if kind == "PNG":
        return _fault_of_png(encoded, max_pixels, truncated)
    if kind:
        return Fault("unreadable", f"{_article(kind)} {kind} file, not a JPEG or PNG")
    return Fault("unreadable", _describe_other(encoded))


def find_fault_of_file(path, max_pixels, truncated=REFUSE):
    """Finds out why the image in a file could not be read; see `find_fault`."""
    encoded = read_image(path)
    if isinstance(encoded, Fault):
        return encoded
    return find_fault(encoded, max_pixels, truncated)


def read_image(path):
    """Reads the bytes of an image file, or finds out why that is not possible.

    Args:
        path: A `pathlib.Path` or a string.

    Returns:
        The bytes, or a `Fault`: the file is missing, larger than `MAX_BYTES`, or
        cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            encoded = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Fault("missing", "missing: there is no such file")
    except IsADirectoryError:
        return Fault("reading error", "a folder, not a file")
    except (OSError, ValueError) as error:
        # A name with a NUL is a ValueError.
        return Fault("reading error", f"cannot be opened: {_short(error)}")
    if len(encoded) > MAX_BYTES:
        return Fault("unreadable", f"a file of more than {MAX_BYTES} bytes")
    return encoded


def size_fault(width, height, max_pixels):
    """Returns the `Fault` of an image that is too large; None if it is not."""
    if not width or not height:
        return Fault("unreadable", f"damaged: a size of {width} x {height} pixels")
    if max(width, height) > MAX_SIDE:
        detail = f"a side of {max(width, height)} pixels, more than {MAX_SIDE}"
        return Fault("too many pixels", detail)
    if width * height > max_pixels:
        return Fault(
            "too many pixels",
            f"{width} x {height} = {width * height} pixels, more than "
            f"--max_pixels {max_pixels}",
        )
    return None


def _fault_of_jpeg(encoded, max_pixels, truncated):
    marks = _JpegMarks.of(encoded)
    if marks.size:
        too_large = size_fault(*marks.size, max_pixels)
        if too_large:
            return too_large
    if sum(map(encoded.count, START_OF_SCAN)) > MAX_SCANS:
        return Fault("unreadable", f"a JPEG of more than {MAX_SCANS} scans")
    if not marks.has_end:
        if truncated == ACCEPT or not marks.has_pixels:
            return Fault("unreadable", "cut off: a JPEG that ends before its pixels")
        return Fault(
            "unreadable",
            "cut off: a JPEG without its last bytes (--truncated accept reads it)",
        )
    if marks.frame and marks.frame not in _FRAMES:
        return Fault(
            "unreadable", f"a JPEG of a rare kind (SOF{marks.frame - 0xC0}), not read"
        )
    if marks.depth not in (0, 8):
        return Fault("unreadable", f"a JPEG of {marks.depth} bits a colour, not 8")
    return Fault("unreadable", "damaged: a JPEG whose pixels cannot be decoded")


class _JpegMarks(NamedTuple):
    """What the markers of a JPEG say.

    Args:
        size: Width and height; None if the file has none.
        frame: The second byte of the frame's marker, 0 if the file has none.
        depth: Bits a colour, 0 if the file has no frame.
        has_pixels: Whether a scan begins.
        has_end: Whether the end marker stands behind a scan.
    """

    size: tuple | None = None
    frame: int = 0
    depth: int = 0
    has_pixels: bool = False
    has_end: bool = False

    @classmethod
    def of(cls, encoded):
        marks, at = cls(), 2
        while 0 <= at < len(encoded) - 1:
            if encoded[at] != 0xFF:  # pixels, or bytes that belong to no segment
                at = encoded.find(b"\xff", at)
                continue
            mark = encoded[at + 1]
            if mark == 0xFF:
                at += 1
            elif mark == 0xD9:
                return marks._replace(has_end=True)
            elif mark == 0 or mark in _WITHOUT_LENGTH:
                at += 2
            else:
                if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
                    marks = marks._with_frame(mark, encoded[at + 4 : at + 9])
                if mark == 0xDA:
                    marks = marks._replace(has_pixels=True)
                length = int.from_bytes(encoded[at + 2 : at + 4], "big")
                at += 2 + max(2, length)
        return marks

    def _with_frame(self, mark, header):
        if self.size or len(header) < 5:
            return self
        height, width = (int.from_bytes(header[n : n + 2], "big") for n in (1, 3))
        return self._replace(size=(width, height), frame=mark, depth=header[0])


def _fault_of_png(encoded, max_pixels, truncated):
    if encoded[12:16] == b"CgBI":
        return Fault("unreadable", "a PNG of Apple's own kind (CgBI), not read")
    if len(encoded) < 33:
        return Fault("unreadable", "cut off: a PNG that ends in its header")
    if not encoded.startswith(PNG_START):
        return Fault("unreadable", "damaged: a PNG that does not begin with a header")
    size = (int.from_bytes(encoded[at : at + 4], "big") for at in (16, 20))
    too_large = size_fault(*size, max_pixels)
    if too_large:
        return too_large
    if sum(map(encoded.count, DEFLATED)) > MAX_DEFLATED:
        detail = f"a PNG of more than {MAX_DEFLATED} compressed notes"
        return Fault("unreadable", detail)
    return Fault("unreadable", _describe_chunks(encoded, truncated))


def _describe_chunks(encoded, truncated):
    """Says which chunk of a PNG is cut off or damaged."""
    at, has_pixels = 8, False
    while at + 12 <= len(encoded):
        length = int.from_bytes(encoded[at : at + 4], "big")
        name, end = encoded[at + 4 : at + 8], at + 12 + length
        if end > len(encoded):
            return f"cut off: a PNG of which {end - len(encoded)} or more bytes miss"
        check = int.from_bytes(encoded[end - 4 : end], "big")
        if zlib.crc32(memoryview(encoded)[at + 4 : end - 4]) != check:
            shown = name.decode("latin-1") if name.isalpha() else name.hex()
            return f"damaged: a PNG whose chunk {shown} differs from its checksum"
        if name == b"IEND":
            return "damaged: a PNG whose pixels cannot be decoded"
        has_pixels |= name == b"IDAT"
        at = end
    if has_pixels and truncated != ACCEPT:
        return "cut off: a PNG without its end (--truncated accept reads it)"
    return "cut off: a PNG without all of its pixels"


def _describe_other(encoded):
    """Says what a file is that is no image."""
    for start, what in _OTHERS:
        if encoded.startswith(start):
            return what if what.startswith("a pointer") else f"{what}, not an image"
    if encoded[4:8] == b"ftyp":
        return "a film (MP4), not an image"
    head = encoded[:4096]
    if not head.strip(b"\0"):
        return "nothing but zeros, as an interrupted copy leaves it"
    if _HTML.search(head):
        return "a web page (HTML), not an image"
    if b"<svg" in head:
        return "an SVG drawing, not a JPEG or PNG"
    if _is_text(head):
        return "text, not an image"
    return f"not an image: it begins with {encoded[:8].hex(' ')}"


def _is_text(head):
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True  # UTF-16
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)


def _article(kind):
    return "an" if kind[0] in "AO" else "a"


def _short(error):
    reason = getattr(error, "strerror", None) or str(error)
    return " ".join(reason.split())[:200]
