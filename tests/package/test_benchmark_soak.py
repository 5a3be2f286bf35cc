"""The soak benchmark checks answers and measures the growth of memory."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from benchmarks import photographs, soak
from ram_tf.data.images.decoding import MAX_PIXELS
from ram_tf.serving.formats.export import read_images


def test_growth_of_memory_is_the_slope_of_a_line_after_the_warm_up():
    minutes = np.arange(40) / 4
    memory = [(t, 500 + (3 * t if t < 5 else 0.5 * t)) for t in minutes]
    growth, error = soak.slope(memory, 5)
    assert growth == pytest.approx(0.5)
    assert error == pytest.approx(0, abs=1e-6)


def predict_brightness(encoded):
    """Stands in for a model: scores each image by its brightness."""
    (images,), valid = read_images(
        tf.constant(encoded, tf.string), [8], [8], MAX_PIXELS
    )
    return {"scores": np.mean(images, (1, 2)), "valid": valid.numpy()}


@pytest.mark.slow
def test_a_soak_predicts_images_of_all_sizes_some_of_them_broken(tmp_path):
    encoded = [path.read_bytes() for path in photographs.write(tmp_path, 4)]
    images, readable = soak.mixed_images(encoded, 0.25, count=28)
    soaked = soak.Soak(predict_brightness, images, readable)
    assert 2 <= readable.count(False) <= 12
    longest = {
        max(Image.open(io.BytesIO(image)).size)
        for image, is_readable in zip(images, readable, strict=True)
        if is_readable
    }
    assert longest == set(soak.EDGES)
    soaked.run(0.01, (1, 2), 0.2, tqdm(disable=True))
    assert set(soaked.latencies) == {1, 2}
    with pytest.raises(ValueError, match="does not recognise the broken"):
        soak.Soak(predict_brightness, images, [not each for each in readable])
    soaked.first[5] = {**soaked.first[5], "scores": np.array([[-1.0] * 3])}
    with pytest.raises(ValueError, match="different scores"):
        soaked.check_answer(5)
