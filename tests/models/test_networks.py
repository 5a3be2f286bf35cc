"""The joined models: what they return, what they minimise, that they learn."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import losses, policy_gradient
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
from ram_tf.models.attention.spatial_transformer import matrix_to_box, sample_region
from ram_tf.models.networks import RARL, RDAR, PooledClassifier, crop_to_image
from ram_tf.models.objectives import Objective, ReinforceObjective

LABELS = 3


@pytest.fixture
def images():
    shape = (2, 24, 24, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def make_backbone():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.Conv2D(8, 3, strides=4, padding="same", activation="relu"),
        ],
        name="backbone",
    )


def make_model(objective=None, crop_fraction=1.0, **arguments):
    arguments = {"num_regions": 2, "units": 16, "region_size": (4, 4), **arguments}
    attention = RecurrentMemorizedAttention(LABELS, **arguments)
    objective = objective or Objective()
    model = RDAR(make_backbone(), attention, objective, crop_fraction)
    model(np.zeros((1, 24, 24, 3), "float32"))
    # Regions of their own for every image, some of them overhanging.
    kernel = attention.theta_variables[0]
    kernel.assign(np.random.default_rng(1).normal(size=kernel.shape))
    return model


def test_outputs_have_their_documented_shapes(images):
    outputs = make_model()(images)
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {
        "scores": (2, LABELS),
        "probabilities": (2, LABELS),
        "regions": (2, 2, 2, 3),
        "boxes": (2, 2, 4),
        "region_scores": (2, 2, LABELS),
    }
    assert all(value.dtype == tf.float32 for value in outputs.values())


def test_scores_are_the_category_wise_maximum_of_equation_6(images):
    outputs = make_model(num_regions=4)(images)
    np.testing.assert_array_equal(
        outputs["scores"], outputs["region_scores"].numpy().max(1)
    )


@pytest.mark.parametrize("loss", losses.CLASSIFICATION)
def test_probabilities_are_those_of_the_loss(images, loss):
    outputs = make_model(Objective(loss=loss))(images)
    scores = outputs["scores"].numpy()
    expected = 1 / (1 + np.exp(-scores))
    if loss == "euclidean":
        expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-5)


def test_crop_to_image_by_hand():
    # The centre crop of 448 out of 512 pixels begins after 32.
    mapped = crop_to_image(np.array([0.0, 0.5, 1.0]), 448 / 512)
    np.testing.assert_allclose(mapped, [32 / 512, 0.5, 480 / 512])


def test_boxes_are_fractions_of_the_image_the_crop_was_cut_from(images):
    outputs = make_model(crop_fraction=0.75)(images)
    in_crop = matrix_to_box(outputs["regions"], clip=False).numpy()
    expected = np.clip(0.125 + 0.75 * in_crop, 0, 1)
    np.testing.assert_allclose(outputs["boxes"], expected, rtol=0, atol=1e-6)


def test_unknown_batch_and_image_size_give_the_same(images):
    model = make_model()
    recognise = tf.function(
        model, input_signature=[tf.TensorSpec([None, None, None, 3])]
    )
    for part in (images, images[:1, :16]):
        actual, expected = recognise(part), model(part)
        for name in expected:
            np.testing.assert_allclose(
                actual[name], expected[name], rtol=1e-4, atol=1e-5
            )


LABEL_ROWS = np.array([[1, 0, -1], [0, 1, 1]])


def test_terms_are_equations_7_and_13_weighted_as_in_equation_14(images):
    objective = Objective("bce", 0.3, 0.2, 0.4, 0.6, 0.05, "ASP")
    outputs = make_model(objective)(images)
    terms = objective.terms(LABEL_ROWS, outputs)
    regions = outputs["regions"]
    localization = (
        losses.scale_constraint(regions, 0.6)
        + 0.2 * losses.anchor_constraint(regions)
        + 0.4 * losses.positive_constraint(regions, 0.05)
    )
    assert localization > 0
    assert set(terms) == {"classification", "localization"}
    np.testing.assert_allclose(
        terms["classification"],
        losses.binary_crossentropy(LABEL_ROWS, outputs["scores"]),
    )
    np.testing.assert_allclose(terms["localization"], 0.3 * localization, rtol=1e-6)


@pytest.mark.parametrize("constraints", ["", "S", "AP"])
def test_constraints_can_be_switched(images, constraints):
    objective = Objective(gamma=1.0, constraints=constraints)
    outputs = make_model()(images)
    expected = losses.localization(outputs["regions"], constraints=constraints)
    terms = objective.terms(LABEL_ROWS, outputs)
    np.testing.assert_allclose(terms["localization"], expected)


def test_the_loss_is_the_sum_of_the_terms_that_are_reported(images):
    model = make_model(Objective("bce", gamma=2.0))
    model.compile()
    report = model.evaluate(
        images, LABEL_ROWS, batch_size=1, verbose=0, return_dict=True
    )
    assert report["classification"] > 0
    assert report["localization"] > 0
    total = report["classification"] + report["localization"]
    assert report["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("loss", ["euclidean", "bce"])
def test_overfits_four_images(loss):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (4, 24, 24, 3)).astype("float32")
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    objective = Objective(loss=loss)
    model = make_model(objective, region_pooling="flatten", units=32)
    before = objective.terms(labels, model(images))["classification"]
    model.compile(keras.optimizers.Adam(5e-3))
    steps = 100
    many = np.tile(images, (steps, 1, 1, 1)), np.tile(labels, (steps, 1))
    model.fit(*many, batch_size=4, shuffle=False, verbose=0)
    after = objective.terms(labels, model(images))["classification"]
    assert after < 0.1 * before
    scores = model(images)["scores"].numpy()
    for row, present in zip(scores, labels == 1, strict=True):
        assert row[present].min() > row[~present].max()


def test_saved_weights_give_the_same_outputs(images, tmp_path):
    model, again = make_model(), make_model()
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    expected = model(images)
    for name, value in again(images).items():
        np.testing.assert_array_equal(value, expected[name])


def make_pooled(**arguments):
    model = PooledClassifier(make_backbone(), LABELS, Objective("bce"), **arguments)
    model(np.zeros((1, 24, 24, 3), "float32"))
    return model


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pooled_classifier_is_linear_in_the_pooled_features(images, pooling):
    model = make_pooled(pooling=pooling)
    features = model.backbone(images).numpy()
    pooled = features.mean((1, 2)) if pooling == "average" else features.max((1, 2))
    kernel, bias = model.classifier.get_weights()
    outputs = model(images)
    expected = pooled @ kernel + bias
    np.testing.assert_allclose(outputs["scores"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        outputs["probabilities"], 1 / (1 + np.exp(-expected)), rtol=1e-4
    )


def test_flattening_classifier_sees_the_map_as_attention_sees_its_region(images):
    model = make_pooled(pooling="flatten", units=7, region_size=(4, 4))
    theta = np.array([[1.0, 1.0, 0.0, 0.0]] * 2, "float32")
    region = sample_region(model.backbone(images), theta, (4, 4)).numpy()
    # 2x2 max-pool: (B, 2, 2, 2, 2, C) over the inner cells.
    x = region.reshape(2, 2, 2, 2, 2, -1).max((2, 4)).reshape(2, -1)
    kernel, bias = model.feature.get_weights()
    x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = model.classifier.get_weights()
    np.testing.assert_allclose(
        model(images)["scores"], x @ kernel + bias, rtol=1e-4, atol=1e-5
    )


def test_layers_of_the_pooled_classifier_fit_the_attention_model(images):
    # Section 5.1: the second step starts from the first one's layers.
    pooled = make_pooled(pooling="flatten", units=16, region_size=(4, 4))
    attention = make_model().attention.region_lstm
    for name in ("feature", "classifier"):
        given, taken = getattr(pooled, name), getattr(attention, name)
        taken.set_weights(given.get_weights())


def test_pooled_classifier_drops_out_in_training_only(images):
    model = make_pooled(dropout=0.5)
    np.testing.assert_array_equal(model(images)["scores"], model(images)["scores"])
    first, second = (model(images, training=True)["scores"] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


def test_pooled_classifier_minimises_its_classification_loss_alone(images):
    model = make_pooled()
    terms = model.objective.terms(LABEL_ROWS, model(images))
    assert set(terms) == {"classification"}
    model.compile()
    report = model.evaluate(images, LABEL_ROWS, verbose=0, return_dict=True)
    assert report["loss"] == pytest.approx(float(terms["classification"]), rel=1e-5)


def make_given(like=None, policy=None):
    """A model that is given its regions, with the other weights of another model."""
    with_policy = {"dtype": policy} if policy else {}
    attention = RecurrentMemorizedAttention(
        LABELS, 2, 16, (4, 4), given_regions=True, **with_policy
    )
    model = RDAR(make_backbone(), attention, Objective(), **with_policy)
    model((np.zeros((1, 24, 24, 3), "float32"), np.zeros((1, 2, 4), "float32")))
    if like:
        localization = {id(v) for v in like.attention.theta_variables}
        kept = [v for v in like.variables if id(v) not in localization]
        for variable, value in zip(model.variables, kept, strict=True):
            variable.assign(value)
    return model


BOXES = np.array(
    [[[0.1, 0.2, 0.7, 0.9], [-0.2, 0.5, 0.4, 1.3]], [[0, 0, 1, 1], [0.4, 0.1, 0.6, 1]]],
    "float32",
)


def test_given_its_own_regions_as_boxes_a_model_scores_the_same(images):
    model = make_model()
    expected = model(images)
    boxes = matrix_to_box(expected["regions"], clip=False)
    outputs = make_given(like=model)((images, boxes))
    # Scales of both signs: a mirrored region is not that of its box.
    same = (expected["regions"].numpy()[:, :, [0, 1], [0, 1]] > 0).all((1, 2))
    assert same.any()
    for name in ("region_scores", "regions", "scores", "boxes"):
        actual, wanted = (o[name].numpy()[same] for o in (outputs, expected))
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_given_boxes_come_out_as_they_went_in(images, policy):
    outputs = make_given(policy=policy)((images, BOXES))
    np.testing.assert_allclose(outputs["boxes"], BOXES.clip(0, 1), atol=1e-6)


def test_regions_that_are_to_be_given_and_are_not_say_what_cannot_be_done(images):
    model = make_given()
    with pytest.raises(ValueError, match="neither exported nor asked for predictions"):
        model.attend(model.backbone(images))


def test_objectives_defaults_are_the_papers():
    # Section 4.2 and 4.3.
    assert dataclasses.asdict(Objective()) == {
        "loss": "euclidean",
        "gamma": 0.1,
        "lambda_anchor": 0.01,
        "lambda_positive": 0.1,
        "alpha": 0.5,
        "beta": 0.1,
        "constraints": "ASP",
    }


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

    def noting(images, **arguments):
        shapes.append(tuple(images.shape))
        return backbone(images, **arguments)

    model.backbone = noting
    assert model(images, training=True)["scores"].shape == (6, LABELS)
    assert shapes == [(2, 24, 24, 3)]


def test_terms_of_rarl_are_means_over_images_and_their_episodes(images):
    objective = ReinforceObjective("bce", 0.3, 0.7)
    outputs = make_rarl(objective, episodes=3)(images, training=True)
    terms = objective.terms(LABEL_ROWS, outputs)
    assert outputs["scores"].shape == (6, LABELS)
    of_episodes = np.array([LABEL_ROWS[0]] * 3 + [LABEL_ROWS[1]] * 3)
    rewards = policy_gradient.reward(of_episodes, outputs["scores"])
    learnt = rewards, outputs["baselines"]
    logarithms, counted = outputs["log_probabilities"], tf.fill([6], True)
    expected = {
        "classification": losses.binary_crossentropy(of_episodes, outputs["scores"]),
        "reinforce": 0.3 * policy_gradient.policy_loss(*learnt, logarithms, counted, 3),
        "baseline": 0.7 * policy_gradient.baseline_loss(*learnt, counted),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-6, err_msg=name)


def test_without_episodes_rarl_is_judged_by_its_classification(images):
    objective = ReinforceObjective("bce")
    outputs = make_rarl(objective)(images)
    assert set(objective.terms(LABEL_ROWS, outputs)) == {"classification"}
    assert set(objective.figures(LABEL_ROWS, outputs)) == {"reward"}


def test_figures_of_the_agent_by_hand_leave_out_images_without_labels():
    labels = np.array([[1, 1, 0], [0, 0, -1]])
    scores = [[2.0, 0.0, 1.0], [2.0, 1.0, 0.0], [5.0, 4.0, 3.0], [5.0, 4.0, 3.0]]
    outputs = {
        "scores": tf.constant(scores),
        "baselines": tf.constant([[0.5, 1.0], [0.75, 0.25], [9.0, 9.0], [9.0, 9.0]]),
    }
    figures = ReinforceObjective().figures(labels, outputs)
    # Rewards 1/2 and 1; advantages 0, -1/2 and 1/4, 3/4.
    np.testing.assert_allclose(figures["reward"], 3 / 4)
    np.testing.assert_allclose(figures["advantage"], (-1 / 2 + 1) / 4)
    np.testing.assert_allclose(figures["baseline_error"], (1 / 2 + 1) / 4)


def test_the_reward_shown_is_the_mean_over_images_with_labels_of_all_batches():
    model = make_rarl(locations="fixed", starts=[[0.0, 0.0], [0.5, 0.5]])
    model.reset_metrics()
    # Two images of one batch are rewarded, one of the other is not and one is unknown.
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


@pytest.mark.parametrize("locations", ["learnt", "random", "fixed"])
def test_fitting_rarl_shows_the_terms_that_it_sums_and_its_figures(images, locations):
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
    # So many, so far apart, that they are not all rewarded alike.
    model = make_rarl(episodes=8, sigma=1.0, dropout=0.1)
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
    before = model.attention.location_bias.numpy()
    report = model.fit(images, LABEL_ROWS, batch_size=2, verbose=0).history
    assert np.isfinite(report["loss"]).all()
    assert np.abs(model.attention.location_bias.numpy() - before).max() > 0


def blobs(count, rng):
    """Maps on which a blob says where an object is, and one cell there which it is.

    The cell lies between those that a look at the whole map samples: it cannot be read
    from there.
    """
    classes = rng.integers(0, 6, count)
    places = 2 * rng.integers(0, 6, (count, 2)) + 1  # of 13 x 13 cells, the odd ones
    maps = np.zeros((count, 13, 13, 7), "float32")
    cells = np.arange(13)
    rows, columns = (np.exp(-(((cells - p[:, None]) / 2) ** 2)) for p in places.T)
    maps[..., 0] = rows[:, :, None] * columns[:, None]
    maps[np.arange(count), places[:, 0], places[:, 1], 1 + classes] = 1
    return maps, np.eye(6, dtype="int32")[classes]


def looked(locations):
    """How often an agent trained on `blobs` names the class, on other maps."""
    keras.utils.set_random_seed(0)
    attention = ReinforcedAttention(
        6,
        num_steps=2,
        units=64,
        region_size=(7, 7),
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
def test_learnt_locations_beat_random_ones_where_only_the_right_place_tells():
    learnt, random = looked("learnt"), looked("random")
    assert random < 0.6
    assert learnt > 0.9
