"""Writes colour JPEG files of 500 x 375 pixels, as in PASCAL VOC, or larger ones."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

COUNT = 32
LONGER, SHORTER = 500, 375
QUALITY = 92


def write(folder, count=COUNT, scale=1):
    """Writes crops of scikit-learn's two sample photographs as JPEG files.

    Noise would take longer to decode than photographs, and plain areas less time.

    Args:
        folder: The output folder; created if missing.
        count: The number of files; every fourth has portrait format.
        scale: A factor of their size. Enlarged photographs have few details, so that
            they decode faster than a camera's.

    Returns:
        The list of their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    sources = [Image.fromarray(image) for image in load_sample_images().images]
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        size = (SHORTER, LONGER) if number % 4 == 3 else (LONGER, SHORTER)
        # From four fifths to all of the largest crop of that shape.
        share = rng.uniform(0.8, 1) * min(
            source.width / size[0], source.height / size[1]
        )
        width, height = (int(edge * share) for edge in size)
        left = int(rng.integers(source.width - width + 1))
        top = int(rng.integers(source.height - height + 1))
        crop = source.crop((left, top, left + width, top + height))
        path = folder / f"{number:03}.jpg"
        size = [round(scale * edge) for edge in size]
        crop.resize(size, Image.Resampling.BICUBIC).save(path, quality=QUALITY)
        paths.append(path)
    return paths
