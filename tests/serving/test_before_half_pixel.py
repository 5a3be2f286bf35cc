"""Models exported before the change to half-pixel centres still predict the same.

files/before_half_pixel/make.py wrote the files; it names the commit.
"""

import argparse

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.cli import evaluation_flags
from ram_tf.evaluation import results
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.models.attention import (
    recurrent_attention,
    region_attention,
    spatial_transformer,
)
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.serving.batch.batch_folder import describe_model
from ram_tf.serving.predictor import Predictor
from tests.support.paths import FILES

BEFORE = FILES / "before_half_pixel"
LABELS = ("blue", "green", "red")
EXPORTED = {
    "saved_model": "tensorflow",
    "model.onnx": "onnxruntime",
    "model.tflite": "ai_edge_litert",
}
STARTS = {
    "paper": None,
    "starts": [[1.0, 1.0, 0.0, 0.0], [0.5, 0.6, 0.4, -0.3], [0.3, -0.2, -0.6, 0.9]],
}


def load(name):
    with np.load(BEFORE / name) as file:
        return dict(file)


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request):
    pytest.importorskip(EXPORTED[request.param], reason="needs the format's extra")
    return Predictor.load(BEFORE / request.param)


def test_an_old_exported_model_predicts_the_same(exported):
    paths = sorted(BEFORE.glob("[abc].*"))
    outputs = exported([path.read_bytes() for path in paths])
    expected = load("outputs.npz")
    assert outputs.keys() == expected.keys()
    decodes = hasattr(exported, "loaded")
    for name, values in expected.items():
        for path, row, value in zip(paths, outputs[name], values, strict=True):
            # The outputs of other formats have always differed more, and JPEGs are
            # decoded outside of them, since then as Pillow does.
            jpeg = path.suffix == ".jpg"
            tolerance = 1e-5 if decodes else 0.02 if jpeg else 1e-4
            np.testing.assert_allclose(
                row, value, rtol=0, atol=tolerance, err_msg=f"{name} of {path.name}"
            )


def test_its_settings_are_read_as_far_as_serving_needs_them(exported):
    config = exported.config
    assert exported.label_names == LABELS
    assert (config.data.dataset, config.saved_name, config.loss.classification) == (
        "csv",
        "before",
        "bce",
    )
    assert (config.image.image_size, config.image.crop, config.data.max_pixels) == (
        40,
        32,
        50_000_000,
    )
    assert (
        config.attention.regions,
        config.regions_a_step,
        config.training.batch_size,
    ) == (3, 1, 4)


def test_a_batch_reads_its_settings():
    settings, label_names, _ = describe_model(str(BEFORE / "saved_model"))
    assert (tuple(label_names), settings.data.max_pixels) == (LABELS, 50_000_000)


def test_it_can_be_evaluated_on_the_dataset_it_was_trained_on(squares):
    parser = argparse.ArgumentParser()
    evaluation_flags.add_model_arguments(parser)
    arguments = parser.parse_args(
        [f"--model_dir={BEFORE / 'saved_model'}", f"--data_dir={squares}"]
    )
    found, split, settings = evaluation_flags.run_inference(arguments, ViewSettings())
    result = results.evaluate(found.outputs, split, settings, about=found.about)
    assert (result["split"], result["images"]) == ("val", 16)
    assert result["mAP"] > 0.95


def hat_weights(scale, translation, samples, cells):
    """Bilinear weights if -1 and 1 are the centres of the outermost cells."""
    grid = tf.linspace(-1.0, 1.0, samples)
    points = scale[..., None] * grid + translation[..., None]
    points = (points + 1.0) * tf.cast(cells - 1, tf.float32) / 2.0
    offset = points[..., None] - tf.range(tf.cast(cells, tf.float32))
    return tf.nn.relu(1.0 - tf.abs(offset))


def sample_as_before(maps, theta, size):
    s_x, s_y, t_x, t_y = tf.unstack(theta, axis=-1)
    height, width, channels = maps.shape[1:]
    rows = hat_weights(s_y, t_y, size[0], height)
    columns = hat_weights(s_x, t_x, size[1], width)
    lines = tf.matmul(rows, tf.reshape(maps, [-1, height, width * channels]))
    lines = tf.reshape(lines, [-1, size[0], width, channels])
    return tf.matmul(columns[:, None], lines)


@pytest.fixture
def sampled(monkeypatch):
    """Replaces the layer's sampler by the old one; returns the sampled regions."""
    thetas = []

    def sample_region(maps, theta, size):
        thetas.append(theta)
        return sample_as_before(maps, theta, size)

    # In every module that the layer may take it from.
    for module in (spatial_transformer, region_attention, recurrent_attention):
        monkeypatch.setattr(module, "sample_region", sample_region, raising=False)
    return thetas


def make_linear(case):
    """Builds the layer as make.py initialised it."""
    keras.utils.set_random_seed(0)
    layer = RecurrentMemorizedAttention(
        *(4, 3, 16, (4, 4), "average"), starts=STARTS[case], name="attention"
    )
    layer.build((None, None, None, 7))
    return layer


def assert_as_before(layer, case, state, thetas):
    stored = load("linear.npz")
    outputs = layer(stored["features"])
    assert len(thetas) == 4, "the whole map and each region use this sampler"
    for name in ("region_scores", "regions"):
        expected = stored[f"{case}/{state}/outputs/{name}"]
        # One step of float32 beside the 1e-6: another CPU rounds another way.
        np.testing.assert_allclose(
            outputs[name], expected, rtol=2.0**-22, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("case", STARTS)
@pytest.mark.parametrize("state", ["begun", "changed"])
def test_linear_localization_with_the_old_sampler_is_unchanged(case, state, sampled):
    layer, stored = make_linear(case), load("linear.npz")
    prefix = f"{case}/{state}/weights/"
    weights = {n.removeprefix(prefix) for n in stored if n.startswith(prefix)}
    assert weights == {weight.path for weight in layer.weights}
    for weight in layer.weights:
        weight.assign(stored[prefix + weight.path])
    assert_as_before(layer, case, state, sampled)


@pytest.mark.parametrize("case", STARTS)
def test_linear_localization_is_initialised_from_a_seed_as_before(case, sampled):
    assert_as_before(make_linear(case), case, "begun", sampled)
