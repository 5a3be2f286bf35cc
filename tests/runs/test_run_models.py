"""Tests the models that are built and loaded from the settings of a run."""

import keras
import numpy as np
import pytest

from ram_tf.models import losses
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.presets import PRESETS
from ram_tf.runs.run import Run
from tests.support.tiny_settings import NAMES, TINY, change


def randomise(built):
    rng = np.random.default_rng(0)
    built.set_weights([rng.normal(0, 0.3, w.shape) for w in built.get_weights()])
    return built


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    return rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")


def assert_same_outputs(first, second):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"region_pooling": "flatten", "pooling": "flatten", "pooled_units": 12},
        {"starts": "whole", "precision": "mixed_bfloat16"},
        {"model": "rarl"},
        {"model": "rarl", "starts": "whole", "precision": "mixed_bfloat16"},
        {"model": "rarl", "locations": "random"},
        {"model": "rarl", "locations": "anchors"},
    ],
)
def test_trained_models_are_loaded_from_the_folder(tmp_path, images, changes):
    run = Run.start(tmp_path, change(**changes), NAMES)
    pooled = randomise(run_models.build_pooled(run, run.pooling))
    pooled.save_weights(run.pooled_weights)
    model = randomise(run_models.build_attention(run, pooled))
    model.save_weights(run.model_weights)
    again = Run.open(tmp_path)
    assert_same_outputs(run_models.load_attention(again)(images), model(images))
    # The backbone is shared with the attention model, whose weights came last.
    pooled.load_weights(run.pooled_weights)
    assert_same_outputs(run_models.load_pooled(again)(images), pooled(images))


def test_a_run_without_trained_weights_has_no_models_to_load(tmp_path):
    run = Run.start(tmp_path, TINY, NAMES)
    for load in (run_models.load_pooled, run_models.load_attention):
        with pytest.raises(FileNotFoundError, match="no trained weights yet"):
            load(run)


@pytest.mark.slow
def test_with_the_paper_preset_w_fx_is_initialised_as_fc6(
    tmp_path, vgg16_with_top, capsys
):
    network, path = vgg16_with_top
    paper = {**PRESETS["paper"], "backbone": "vgg16", "weights": path}
    run = Run.start(tmp_path, Config.of(image_size=128, **paper), NAMES)
    pooled = run_models.build_pooled(run, run.pooling)
    model = run_models.build_attention(run, pooled)
    feature, fc6 = model.attention.region_lstm.feature, network.get_layer("fc1")
    np.testing.assert_array_equal(feature.kernel, fc6.kernel)
    np.testing.assert_array_equal(feature.bias, fc6.bias)
    assert "W_fx is initialised from a layer of vgg16" in capsys.readouterr().out


@pytest.mark.parametrize("regions", [1, 3, 5])
def test_regions_start_in_the_centre_and_at_their_anchors(tmp_path, images, regions):
    run = Run.start(tmp_path, change(regions=regions, start_scale=0.4), NAMES)
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    theta = model(images)["regions"].numpy()[0]
    scales = theta[:, [0, 1], [0, 1]]
    np.testing.assert_allclose(scales, np.full((regions, 2), 0.4))
    np.testing.assert_allclose(theta[0, :, 2], [0, 0])
    distance = np.linalg.norm(theta[1:, :, 2], axis=-1)
    np.testing.assert_allclose(distance, np.sqrt(0.5), rtol=1e-6)


@pytest.mark.parametrize("locations", ["learnt", "anchors"])
def test_rarl_starts_in_the_centre_and_at_the_anchors_of_its_steps(
    tmp_path, images, locations
):
    settings = change(model="rarl", steps=5, locations=locations)
    run = Run.start(tmp_path, settings, NAMES)
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    regions = model(images)["regions"].numpy()
    assert regions.shape == (2, 45, 2, 3)
    expected = [[0, 0], *losses.anchors(5)]
    np.testing.assert_allclose(regions[0, ::9, :, 2], expected, atol=1e-6)


def test_settings_of_rarl_reach_its_layer(tmp_path):
    settings = change(model="rarl", steps=3, sigma=0.3, episodes=4, seed=7)
    run = Run.start(tmp_path, settings, NAMES)
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    agent = model.attention.get_config()
    expected = {"num_steps": 3, "sigma": 0.3, "episodes": 4, "seed": 7}
    assert agent.items() >= expected.items()


@pytest.mark.parametrize("pooled_units", [0, 12])
def test_pooled_head_start_gives_the_scores_of_step_1(tmp_path, images, pooled_units):
    settings = change(
        head_start="pooled",
        pooled_units=pooled_units,
        units=32,
        regions=1,
        starts="whole",
        region_size=4,
    )
    run = Run.start(tmp_path, settings, NAMES)
    pooled = run_models.build_pooled(run, "max")
    model = run_models.build_attention(run, pooled)
    # The only region is the whole map, which has 4x4 cells and is sampled unchanged.
    before, after = pooled(images)["scores"], model(images)["scores"]
    assert np.linalg.norm(after - before) < 0.03 * np.linalg.norm(before)


def test_feature_head_start_uses_the_hidden_layer_of_step_1(tmp_path):
    settings = change(
        head_start="feature",
        pooling="flatten",
        region_pooling="flatten",
        pooled_units=12,
    )
    run = Run.start(tmp_path, settings, NAMES)
    pooled = run_models.build_pooled(run, "flatten")
    feature = run_models.build_attention(run, pooled).attention.region_lstm.feature
    for expected, weights in zip(
        pooled.feature.get_weights(), feature.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weights, expected)


def test_the_precision_applies_to_the_model_only(tmp_path):
    before = keras.config.dtype_policy()
    run = Run.start(tmp_path, change(precision="mixed_bfloat16"), NAMES)
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    assert model.attention.region_lstm.feature.compute_dtype == "bfloat16"
    assert model.backbone(np.zeros((1, 32, 32, 3))).dtype == "bfloat16"
    assert keras.config.dtype_policy() == before


def test_boxes_are_mapped_back_from_the_crop(tmp_path, images):
    run = Run.start(tmp_path, change(regions=1, start_scale=1.0), NAMES)
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    # The crop of 32 out of 40 pixels begins at 0.1.
    np.testing.assert_allclose(
        model(images)["boxes"][0, 0], [0.1, 0.1, 0.9, 0.9], atol=1e-6
    )


def test_views_whose_images_cells_do_not_tile_are_refused(tmp_path):
    run = Run.start(tmp_path, change(crop_margin=4, image_size=36), NAMES)
    model = run_models.build_attention(run, run_models.build_pooled(run, "max"))
    with pytest.raises(ValueError, match=r"Expected 36 or 44, .*image_size=40"):
        run_models.view(run, model, sizes=[36, 40])
    # Crops of 32 pixels are tiled, images of 36 are not.
    assert run_models.view(run, model, count=5).sizes == (36,)
    with pytest.raises(ValueError, match=r"multiple of 8 .*--views_from image.*=36"):
        run_models.view(run, model, count=5, source="features")
