"""Tests RDAR and the classifier of step 1: outputs, loss and training."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import losses
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.spatial_transformer import matrix_to_box, sample_region
from ram_tf.models.networks import RDAR, PooledClassifier, crop_to_image
from ram_tf.models.objectives import Objective
from tests.support.small_models import LABEL_ROWS, LABELS, make_backbone, random_images


@pytest.fixture
def images():
    return random_images()


def make_model(objective=None, crop_fraction=1.0, **arguments):
    arguments = {"num_regions": 2, "units": 16, "region_size": (4, 4), **arguments}
    attention = RecurrentMemorizedAttention(LABELS, **arguments)
    objective = objective or Objective()
    model = RDAR(make_backbone(), attention, objective, crop_fraction)
    model(np.zeros((1, 24, 24, 3), "float32"))
    # Every image has other regions, some of which extend beyond it.
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
def test_the_objective_uses_only_the_chosen_constraints(images, constraints):
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


@pytest.mark.parametrize(
    "loss", ["euclidean", pytest.param("bce", marks=pytest.mark.slow)]
)
def test_rdar_overfits_four_images(loss):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (4, 24, 24, 3)).astype("float32")
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    objective = Objective(loss=loss)
    model = make_model(objective, region_pooling="flatten", units=32)
    before = objective.terms(labels, model(images))["classification"]
    model.compile(keras.optimizers.Adam(5e-3))
    steps = 100
    model.fit(
        np.tile(images, (steps, 1, 1, 1)),
        np.tile(labels, (steps, 1)),
        batch_size=4,
        shuffle=False,
        verbose=0,
    )
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


def test_flattening_classifier_pools_the_map_as_attention_pools_a_region(images):
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


def test_layers_of_the_pooled_classifier_have_the_shapes_of_the_attentions(images):
    # Section 5.1: the second step starts from the first one's layers.
    pooled = make_pooled(pooling="flatten", units=16, region_size=(4, 4))
    attention = make_model().attention.region_lstm
    for name in ("feature", "classifier"):
        getattr(attention, name).set_weights(getattr(pooled, name).get_weights())


def test_pooled_classifier_uses_dropout_in_training_only(images):
    model = make_pooled(dropout=0.5)
    np.testing.assert_array_equal(model(images)["scores"], model(images)["scores"])
    first, second = (model(images, training=True)["scores"] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


def test_pooled_classifier_minimises_its_classification_loss_only(images):
    model = make_pooled()
    terms = model.objective.terms(LABEL_ROWS, model(images))
    assert set(terms) == {"classification"}
    model.compile()
    report = model.evaluate(images, LABEL_ROWS, verbose=0, return_dict=True)
    assert report["loss"] == pytest.approx(float(terms["classification"]), rel=1e-5)


def make_given(like=None, policy=None):
    """Makes a model that takes given regions, with the other weights of `like`."""
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


def test_a_model_scores_its_own_regions_the_same_when_given_as_boxes(images):
    model = make_model()
    expected = model(images)
    boxes = matrix_to_box(expected["regions"], clip=False)
    outputs = make_given(like=model)((images, boxes))
    # Scales of both signs: a box has no mirrored region.
    same = (expected["regions"].numpy()[:, :, [0, 1], [0, 1]] > 0).all((1, 2))
    assert same.any()
    for name in ("region_scores", "regions", "scores", "boxes"):
        actual, wanted = (o[name].numpy()[same] for o in (outputs, expected))
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_given_boxes_are_returned_clipped_to_the_image(images, policy):
    outputs = make_given(policy=policy)((images, BOXES))
    np.testing.assert_allclose(outputs["boxes"], BOXES.clip(0, 1), atol=1e-6)


def test_missing_boxes_are_refused_with_what_the_model_cannot_do(images):
    model = make_given()
    with pytest.raises(ValueError, match="not exported or used for prediction"):
        model.attend(model.backbone(images))


def test_defaults_of_the_objective_are_the_papers():
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
