"""Tests that a short training learns where to look, from labels of images alone.

Each map shows two objects that look like two of the labels. The label of the map is
that of the object that lies on a marked square; the other one is a decoy. The average
of the map cannot distinguish them: a region must lie on the marked object. Five seeds
of the paper's attention pointed at 43 to 75 percent, chance is about 6.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import factory
from ram_tf.models.attention import spatial_transformer
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.networks import RDAR, PooledClassifier
from ram_tf.models.objectives import Objective
from ram_tf.runs.config import Config

LABELS, CELLS, BATCH = 4, 12, 32
MARK, DECOY = LABELS, LABELS + 1  # the channels after those of the labels
HALF = 1.5 / CELLS  # half the edge of an object, as a fraction of the map


def draw_maps(count, seed):
    """Draws maps `(count, 12, 12, 6)`, their labels, and the marked objects' centres.

    An object has 3 x 3 cells; centres are y, x as fractions of the map.
    """
    rng = np.random.default_rng(seed)
    maps = 0.2 * np.abs(rng.normal(size=(count, CELLS, CELLS, LABELS + 2)))
    pairs = rng.integers(1, CELLS - 1, (50 * count, 2, 2))
    apart = np.abs(pairs[:, 0] - pairs[:, 1]).max(-1) >= 3
    cells = pairs[apart][:count]
    labels = rng.integers(0, LABELS, (count, 2))
    for each, places, pair in zip(maps, cells, labels, strict=True):
        for (y, x), label, square in zip(places, pair, (MARK, DECOY), strict=True):
            each[y - 1 : y + 2, x - 1 : x + 2, [label, square]] += 1.0
    rows = np.eye(LABELS, dtype="float32")[labels[:, 0]]
    return maps.astype("float32"), rows, (cells[:, 0] + 0.5) / CELLS


def identity_backbone():
    shape = (CELLS, CELLS, LABELS + 2)
    return keras.Sequential([keras.Input(shape), keras.layers.Identity()])


def train(model, steps, learning_rate=1e-3):
    maps, rows, _ = draw_maps(BATCH * 150, seed=0)
    data = tf.data.Dataset.from_tensor_slices((maps, rows)).shuffle(5000, seed=0)
    model.compile(keras.optimizers.Adam(learning_rate))
    model.fit(data.repeat().batch(BATCH).take(steps), shuffle=False, verbose=0)


def pointing(model):
    """Returns the percentage of maps whose predicted label's region is on its object.

    The second value is that of the same regions on other maps: what a place is worth
    that does not depend on the map.
    """
    maps, rows, centres = draw_maps(500, seed=1)
    outputs = model.predict(maps, verbose=0)
    label = rows.argmax(-1)
    scores = outputs["region_scores"][np.arange(len(maps)), :, label]
    boxes = outputs["boxes"][np.arange(len(maps)), scores.argmax(-1)]
    found = (boxes[:, :2] + boxes[:, 2:]) / 2
    shuffled = np.roll(found, 1, axis=0)
    hits = (np.abs(each - centres).max(-1) < HALF for each in (found, shuffled))
    return [100 * each.mean() for each in hits]


def paper_model():
    """Eq. 7-8, one `W_zm` and `b_m` for all iterations, starting at the whole map."""
    keras.utils.set_random_seed(0)
    attention = RecurrentMemorizedAttention(LABELS, 2, 64, (6, 6), "flatten")
    model = RDAR(identity_backbone(), attention, Objective("euclidean"))
    model(np.zeros((1, CELLS, CELLS, LABELS + 2), "float32"))
    return model


def test_the_papers_attention_learns_where_to_look():
    model = paper_model()
    before = pointing(model)
    train(model, 800)
    assert max(before) < 15
    found, shuffled = pointing(model)
    assert found > 30
    assert found > 3 * shuffled


@pytest.mark.slow
def test_the_papers_attention_does_not_learn_it_without_the_samplers_gradient(
    monkeypatch,
):
    sample = spatial_transformer.sample_region
    monkeypatch.setattr(
        spatial_transformer,
        "sample_region",
        lambda maps, theta, size: sample(maps, tf.stop_gradient(theta), size),
    )
    model = paper_model()
    train(model, 800)
    assert max(pointing(model)) < 20


@pytest.fixture(scope="module")
def content_model():
    """The attention by content, on a linear classifier that knows no places."""
    keras.utils.set_random_seed(0)
    pooled = PooledClassifier(identity_backbone(), LABELS, Objective("bce"), "average")
    pooled(np.zeros((1, CELLS, CELLS, LABELS + 2), "float32"))
    train(pooled, 300, 3e-2)
    attention = RecurrentMemorizedAttention(
        LABELS, 3, 64, (6, 6), "average", localization="content", start_scale=0.25
    )
    model = RDAR(pooled.backbone, attention, Objective("bce", constraints="SP"))
    model(np.zeros((1, CELLS, CELLS, LABELS + 2), "float32"))
    factory.HEAD_STARTS["pooled"](attention, pooled, Config())
    return model


def test_attention_by_content_starts_on_objects(content_model):
    found, shuffled = pointing(content_model)
    assert found > 75
    assert shuffled < 15


def test_attention_by_content_learns_which_object_is_meant(content_model):
    before, _ = pointing(content_model)
    train(content_model, 200)
    after, _ = pointing(content_model)
    assert after > 95
    assert after > before + 5
