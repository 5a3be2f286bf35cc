"""Converts WebP, GIF, BMP and TIFF files to PNG, with Pillow.

TensorFlow's graph reads JPEG and PNG only, so that prediction from files converts other
formats before. Sizes are read from headers: a file that would need too much memory is
refused before any is taken.
"""

import contextlib
import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ram_tf.data.images import image_faults
from ram_tf.data.images.image_faults import Fault

# What `to_png` converts: name of the format and its files' endings.
ENDINGS = {
    "WebP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}
# Colours that Pillow converts to RGB as they are meant.
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK"}
_MODES |= {"YCbCr"}
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF


def readable(encoded, max_pixels):
    """Returns bytes that TensorFlow can read, if there is a way to make them.

    Args:
        encoded: The bytes of a file.
        max_pixels: See `to_png`.

    Returns:
        The bytes, those of a PNG for a format in `ENDINGS`; or a `Fault`.
    """
    if image_faults.format_of(encoded) in ENDINGS:
        return to_png(encoded, max_pixels)
    return encoded


def to_png(encoded, max_pixels):
    """Converts the first frame of an image to a PNG.

    As in `decode_image`, transparent pixels become white, 16 bits are reduced to 8, and
    the image is turned upright by its orientation.

    Args:
        encoded: The bytes of a file in one of the formats of `ENDINGS`.
        max_pixels: Images with more pixels are refused.

    Returns:
        The bytes of a PNG, or the `Fault` of the file.
    """
    kind = image_faults.format_of(encoded)
    if kind == "WebP":
        # Pillow takes memory for all pixels when it opens such a file.
        too_large = _fault_of_webp(encoded, max_pixels)
        if too_large:
            return too_large
    try:
        with _quiet(), Image.open(io.BytesIO(encoded), formats=[kind]) as image:
            fault = image_faults.size_fault(*image.size, max_pixels)
            fault = fault or _fault_of_tiles(image, max_pixels) or _fault_of_mode(image)
            return fault or _encode(_upright_rgb(image))
    # Pillow's readers raise errors of many types for a damaged file.
    except Exception as error:
        detail = f"a {kind} file that is cut off or damaged"
        if not isinstance(error, UnidentifiedImageError):  # which says no more
            detail += f": {' '.join(str(error).split())[:200]}"
        return Fault("unreadable", detail)


@contextlib.contextmanager
def _quiet():
    """Sets aside Pillow's own limit of pixels, and warnings on damaged metadata."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _fault_of_webp(encoded, max_pixels):
    """Returns the `Fault` of a WebP that is too large, from its first chunk."""
    chunk, content = encoded[12:16], encoded[20:]
    if chunk == b"VP8X" and len(content) >= 10:
        width, height = (
            1 + int.from_bytes(content[at : at + 3], "little") for at in (4, 7)
        )
    elif chunk == b"VP8L" and len(content) >= 5:
        bits = int.from_bytes(content[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif chunk == b"VP8 " and len(content) >= 10:
        width, height = (
            int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (6, 8)
        )
    else:
        return Fault("unreadable", "a WebP file that is cut off or damaged: no size")
    return image_faults.size_fault(width, height, max_pixels)


def _fault_of_tiles(image, max_pixels):
    """Returns the `Fault` of a TIFF whose tiles are larger than images may be."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(_TILE_WIDTH), tags.get(_TILE_LENGTH)
    if width and height:
        return image_faults.size_fault(width, height, max_pixels)
    return None


def _fault_of_mode(image):
    if image.mode in _MODES or image.mode.startswith("I;16"):
        return None
    return Fault(
        "unreadable",
        f"a {image.format} file with colours of the kind {image.mode}, which have no "
        "fixed range from black to white",
    )


def _upright_rgb(image):
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow would cut off all values above 255.
        return Image.fromarray((np.asarray(image, "uint16") >> 8).astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _encode(image):
    file = io.BytesIO()
    # The fastest compression: the file is decoded at once.
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
