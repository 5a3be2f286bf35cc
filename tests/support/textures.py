"""Makes images that differ like photographs: large soft forms under fine grain."""

import numpy as np
import PIL.Image


def texture(seed, width=160, height=120):
    """Returns a Pillow image, another for each seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for cells, strength in ((4, 60), (9, 40), (30, 15)):
        forms = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            plane = PIL.Image.fromarray(forms[..., channel])
            image[..., channel] += strength * np.asarray(
                plane.resize((width, height), PIL.Image.Resampling.BICUBIC)
            )
    image += rng.normal(128, 4, image.shape)
    return PIL.Image.fromarray(image.clip(0, 255).astype(np.uint8))
