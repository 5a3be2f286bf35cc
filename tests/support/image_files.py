"""Makes test images, and encodes images with Pillow."""

import io

import numpy as np
import PIL.Image


def encode(image, form="PNG", **options):
    """Returns the bytes of the image file that Pillow writes."""
    file = io.BytesIO()
    if not isinstance(image, PIL.Image.Image):
        image = PIL.Image.fromarray(image)
    image.save(file, form, **options)
    return file.getvalue()


def smooth(height=24, width=32, channels=3):
    """Returns an image without edges, on which JPEG decoders differ most."""
    y, x = np.mgrid[:height, :width]
    planes = [5 * x + y, 200 - 3 * y, 100 + 2 * x - y, 30 + 4 * y][:channels]
    return np.squeeze(np.stack(planes, -1).astype("uint8"))


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")
