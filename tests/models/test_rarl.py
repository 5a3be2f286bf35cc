"""Tests RARL: its outputs, its loss, its logged metrics, and that it trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import losses, policy_gradient
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
from ram_tf.models.attention.spatial_transformer import matrix_to_box
from ram_tf.models.networks import RARL
from ram_tf.models.objectives import ReinforceObjective
from tests.support.small_models import LABEL_ROWS, LABELS, make_backbone, random_images


@pytest.fixture
def images():
    return random_images()


def make_rarl(objective=None, crop_fraction=1.0, **arguments):
    arguments = {"units": 16, "region_size": (4, 4), **arguments}
    attention = ReinforcedAttention(LABELS, num_steps=2, **arguments)
    model = RARL(
        make_backbone(), attention, objective or ReinforceObjective(), crop_fraction
    )
    model(np.zeros((1, 24, 24, 3), "float32"))
    rng = np.random.default_rng(1)
    for variable in attention.theta_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


def test_rarl_returns_what_rdar_returns(images):
    outputs = make_rarl(crop_fraction=0.75)(images)
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {
        "scores": (2, LABELS),
        "probabilities": (2, LABELS),
        "regions": (2, 18, 2, 3),
        "boxes": (2, 18, 4),
        "region_scores": (2, 18, LABELS),
    }
    np.testing.assert_array_equal(
        outputs["scores"], outputs["region_scores"].numpy().max(1)
    )
    in_crop = matrix_to_box(outputs["regions"], clip=False).numpy()
    expected = np.clip(0.125 + 0.75 * in_crop, 0, 1)
    np.testing.assert_allclose(outputs["boxes"], expected, rtol=0, atol=1e-6)


def test_the_episodes_of_an_image_share_one_pass_through_the_backbone(images):
    model = make_rarl(episodes=3)
    backbone, shapes = model.backbone, []

    def recorder(images, **arguments):
        shapes.append(tuple(images.shape))
        return backbone(images, **arguments)

    model.backbone = recorder
    assert model(images, training=True)["scores"].shape == (6, LABELS)
    assert shapes == [(2, 24, 24, 3)]


def test_terms_of_rarl_are_means_over_images_and_their_episodes(images):
    objective = ReinforceObjective("bce", 0.3, 0.7)
    outputs = make_rarl(objective, episodes=3)(images, training=True)
    terms = objective.terms(LABEL_ROWS, outputs)
    assert outputs["scores"].shape == (6, LABELS)
    of_episodes = np.array([LABEL_ROWS[0]] * 3 + [LABEL_ROWS[1]] * 3)
    rewards = policy_gradient.reward(of_episodes, outputs["scores"])
    baselines, counted = outputs["baselines"], tf.fill([6], True)
    logarithms = outputs["log_probabilities"]
    expected = {
        "classification": losses.binary_crossentropy(of_episodes, outputs["scores"]),
        "reinforce": 0.3
        * policy_gradient.policy_loss(rewards, baselines, logarithms, counted, 3),
        "baseline": 0.7 * policy_gradient.baseline_loss(rewards, baselines, counted),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-6, err_msg=name)


def test_without_episodes_the_loss_of_rarl_is_its_classification_loss(images):
    objective = ReinforceObjective("bce")
    outputs = make_rarl(objective)(images)
    assert set(objective.terms(LABEL_ROWS, outputs)) == {"classification"}
    assert set(objective.extra_metrics(LABEL_ROWS, outputs)) == {"reward"}


def test_metrics_of_the_agent_by_hand_exclude_images_without_labels():
    labels = np.array([[1, 1, 0], [0, 0, -1]])
    scores = [[2.0, 0.0, 1.0], [2.0, 1.0, 0.0], [5.0, 4.0, 3.0], [5.0, 4.0, 3.0]]
    outputs = {
        "scores": tf.constant(scores),
        "baselines": tf.constant([[0.5, 1.0], [0.75, 0.25], [9.0, 9.0], [9.0, 9.0]]),
    }
    metrics = ReinforceObjective().extra_metrics(labels, outputs)
    # Rewards 1/2 and 1; advantages 0, -1/2 and 1/4, 3/4.
    np.testing.assert_allclose(metrics["reward"], 3 / 4)
    np.testing.assert_allclose(metrics["advantage"], (-1 / 2 + 1) / 4)
    np.testing.assert_allclose(metrics["baseline_error"], (1 / 2 + 1) / 4)


def test_the_logged_reward_is_the_mean_over_images_with_labels_of_all_batches():
    model = make_rarl(locations="fixed", starts=[[0.0, 0.0], [0.5, 0.5]])
    model.reset_metrics()
    # Both images of one batch have reward 1; of the other, one has 0 and one no label.
    right = {"scores": tf.constant([[1.0, 0.0, 0.0]] * 2)}
    wrong = {"scores": tf.constant([[0.0, 1.0, 1.0]] * 2)}
    model.compute_loss(y=np.array([[1, 0, 0], [1, 0, 0]]), y_pred=right)
    model.compute_loss(y=np.array([[1, 0, 0], [0, 0, -1]]), y_pred=wrong)
    assert float(model.shown_means["reward"].result()) == pytest.approx(2 / 3)


def test_images_without_labels_have_no_policy_gradient(images):
    model = make_rarl(episodes=2)
    labels = np.array([[0, 0, 0], [0, -1, 0]])
    with tf.GradientTape() as tape:
        terms = model.objective.terms(labels, model(images, training=True))
    assert terms["reinforce"] == 0
    assert terms["baseline"] == 0
    gradient = tape.gradient(terms["reinforce"], model.attention.location_bias)
    assert not np.any(tf.convert_to_tensor(gradient))


@pytest.mark.parametrize(
    "locations",
    ["learnt", *(pytest.param(n, marks=pytest.mark.slow) for n in ("random", "fixed"))],
)
def test_training_rarl_logs_the_terms_of_its_loss_and_its_metrics(images, locations):
    starts = [[0.0, 0.0], [0.5, 0.5]]
    model = make_rarl(episodes=2, locations=locations, starts=starts)
    model.compile(keras.optimizers.Adam(1e-3))
    report = model.fit(images, LABEL_ROWS, batch_size=2, verbose=0).history
    report = {name: value[0] for name, value in report.items()}
    terms = {"classification"}
    if locations == "learnt":
        terms |= {"reinforce", "baseline"}
        assert {"advantage", "baseline_error"} <= set(report)
    else:
        assert set(report) == {"loss", "reward", "classification"}
    assert 0 <= report["reward"] <= 1
    assert report["loss"] == pytest.approx(sum(report[n] for n in terms), rel=1e-5)


@pytest.mark.slow
def test_one_step_of_rarl_compiles_with_xla(images):
    # So many and so different episodes that their rewards differ.
    model = make_rarl(episodes=8, sigma=1.0, dropout=0.1)
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
    before = model.attention.location_bias.numpy()
    report = model.fit(images, LABEL_ROWS, batch_size=2, verbose=0).history
    assert np.isfinite(report["loss"]).all()
    assert np.abs(model.attention.location_bias.numpy() - before).max() > 0


def blobs(count, rng):
    """Makes maps in which a blob marks an object's place and one cell its class.

    The whole map, sampled 5 x 5, is read at cells 1, 4, 7, 10 and 13 alone. The cell
    lies between them: the whole map does not reveal the class.
    """
    classes = rng.integers(0, 6, count)
    places = rng.choice([2, 3, 5, 6, 8, 9, 11, 12], (count, 2))
    maps = np.zeros((count, 15, 15, 7), "float32")
    cells = np.arange(15)
    rows, columns = (np.exp(-(((cells - p[:, None]) / 2) ** 2)) for p in places.T)
    maps[..., 0] = rows[:, :, None] * columns[:, None]
    maps[np.arange(count), places[:, 0], places[:, 1], 1 + classes] = 1
    return maps, np.eye(6, dtype="int32")[classes]


def trained_reward(locations):
    """Trains an agent on `blobs` and returns its mean reward on other maps."""
    keras.utils.set_random_seed(0)
    attention = ReinforcedAttention(
        6,
        num_steps=2,
        units=64,
        region_size=(5, 5),
        locations=locations,
        episodes=2,
        sides=(0.2,),
        ratios=(1.0,),
    )
    model = RARL(keras.layers.Identity(), attention, ReinforceObjective("bce"))
    model.compile(keras.optimizers.Adam(2e-3, global_clipnorm=1.0))
    rng = np.random.default_rng(0)
    model.fit(*blobs(64 * 1500, rng), batch_size=64, verbose=0)
    maps, labels = blobs(2000, rng)
    scores = model.predict(maps, batch_size=500, verbose=0)["scores"]
    return float(np.mean(policy_gradient.reward(labels, scores)))


@pytest.mark.slow
def test_learnt_locations_beat_random_ones_when_only_one_place_reveals_the_class():
    learnt, random = trained_reward("learnt"), trained_reward("random")
    assert random < 0.6
    assert learnt > 0.9
