"""Fuzzes the conversion of WebP, GIF, BMP and TIFF, and the faults of all images."""

from hypothesis import strategies as st

from fuzz import pictures
from fuzz.mutations import spoilt
from fuzz.target import Target
from ram_tf.data.images import conversion, image_faults
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.image_faults import Fault

FILES = (
    *(pictures.encoded("TIFF", mode) for mode in ("RGB", "1", "CMYK", "I;16")),
    *(pictures.encoded("TIFF", compression=f"tiff_{c}") for c in ("lzw", "deflate")),
    pictures.encoded("TIFF", exif=pictures.rotated_exif()),
    pictures.encoded("WEBP", lossless=True),
    pictures.encoded("WEBP", "RGBA", exif=pictures.rotated_exif()),
    pictures.encoded("BMP", "P"),
    pictures.encoded("AVIF"),
    *pictures.OTHERS,
)


def target(folder):
    """Returns the target: bytes to a PNG that can be decoded, or to a `Fault`."""

    def read(encoded):
        fault = image_faults.find_fault(encoded, pictures.MAX_PIXELS)
        _check(fault)
        found = conversion.readable(encoded, pictures.MAX_PIXELS)
        if isinstance(found, Fault):
            _check(found)
        elif image_faults.format_of(encoded) in conversion.ENDINGS:
            image = decode_image(found, pictures.MAX_PIXELS)
            assert 0 < image.shape[0] * image.shape[1] <= pictures.MAX_PIXELS

    inputs = st.one_of(spoilt(*FILES), spoilt(*FILES), pictures.inputs())
    return Target(inputs, read, FILES[0])


def _check(fault):
    assert fault.reason in image_faults.REASONS
    assert fault.detail
    assert len(fault.detail) < 400
