"""Makes small image files that need gigabytes or hours, with their expected errors."""

import zlib

from fuzz import pictures

HIDDEN = pictures.png(
    # An unknown first chunk looks like the header of one pixel; libpng skips it.
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
