"""Builds the models that a run's settings describe."""

import contextlib

import keras
import numpy as np

from ram_tf.models import backbone_network, losses, networks
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention


def pooled_classifier(settings, num_labels, pooling, pretrained=True):
    """Builds the classifier of step 1.

    Args:
        settings: The `Config`.
        num_labels: L.
        pooling: "average", "max" or "flatten".
        pretrained: Whether to load the backbone's weights, and those of its hidden
            layer where the head has the same shape (section 5.1 copies W_fx without
            naming its source). False where the whole model's weights are loaded later.
    """
    with _precision(settings.training.precision):
        backbone = backbone_network.build(
            settings.model.backbone,
            settings.model.weights if pretrained else "none",
            settings.model.frozen,
        )
        pooled = networks.PooledClassifier(
            backbone,
            num_labels,
            settings.objective,
            pooling,
            settings.model.pooled_units or None,
            (settings.attention.region_size,) * 2,
            settings.model.dropout,
        )
        _create_weights(pooled, settings.image.crop)
    if pretrained and pooling == "flatten" and pooled.feature:
        hidden = backbone_network.hidden_layer(
            settings.model.backbone, settings.model.weights, pooled.feature.kernel.shape
        )
        if hidden:
            print(f"W_fx is initialised from a layer of {settings.model.backbone}")
            pooled.feature.set_weights(hidden)
    return pooled


def attention_model(settings, num_labels, pooled):
    """Builds the attention model on the backbone of step 1's classifier.

    Args:
        settings: The `Config`.
        num_labels: L.
        pooled: The result of `pooled_classifier`; with some values of the setting
            `head_start` its head initialises the attention.
    """
    kind = {"rdar": networks.RDAR, "rarl": networks.RARL}[settings.model.kind]
    with _precision(settings.training.precision):
        attention = _attention(settings, num_labels)
        model = kind(
            pooled.backbone,
            attention,
            settings.objective,
            settings.image.crop / settings.image.image_size,
        )
        _create_weights(
            model,
            settings.image.crop,
            settings.given_regions * settings.attention.regions,
        )
    HEAD_STARTS[settings.attention.head_start](attention, pooled, settings)
    return model


def _from_xavier(attention, pooled, settings):
    """Keeps the random initial weights."""


def _from_feature(attention, pooled, settings):
    """Initialises W_fx from step 1's hidden layer."""
    attention.region_lstm.feature.set_weights(pooled.feature.get_weights())


def _from_pooled(attention, pooled, settings):
    """Makes the initial scores of regions those of step 1's classifier."""
    kernel, bias = pooled.classifier.get_weights()
    hidden = pooled.feature.get_weights() if pooled.feature else None
    factorisation = attention.region_lstm.start_as(
        (kernel, bias), hidden, settings.attention.context
    )
    if attention.content is not None:
        factors, readout = factorisation
        attention.content.start_as(factors, bias, readout)
    if attention.location_kernel is not None:
        # With kernels of zero, the biases alone place the initial regions.
        zeros = keras.ops.zeros_like(attention.location_kernel)
        attention.location_kernel.assign(zeros)


HEAD_STARTS = {
    "xavier": _from_xavier,
    "feature": _from_feature,
    "pooled": _from_pooled,
}


def _attention(settings, num_labels):
    shared = {
        "num_labels": num_labels,
        "units": settings.attention.units,
        "region_size": (settings.attention.region_size,) * 2,
        "region_pooling": settings.attention.region_pooling,
        "layout_channels": settings.attention.layout_channels,
        "dropout": settings.model.dropout,
        "localization": settings.attention.localization
        if settings.finds_regions
        else "linear",
        "start_scale": settings.attention.start_scale,
        "name": "attention",
    }
    if not settings.is_rarl:
        starts = losses.starting_regions(
            settings.attention.regions, settings.attention.start_scale
        )
        return RecurrentMemorizedAttention(
            **shared,
            num_regions=settings.attention.regions,
            starts=starts if settings.attention.starts == "anchors" else None,
            given_regions=settings.given_regions,
        )
    fixed = settings.attention.locations == "anchors"
    anchored = fixed or settings.attention.starts == "anchors"
    return ReinforcedAttention(
        **shared,
        num_steps=settings.attention.steps,
        starts=losses.starting_centres(settings.attention.steps) if anchored else None,
        locations="fixed" if fixed else settings.attention.locations,
        sigma=settings.attention.sigma,
        episodes=settings.attention.episodes,
        seed=settings.training.seed,
    )


def _create_weights(model, crop, given_regions=0):
    """Calls the model once, on images of any size, which creates its weights."""
    images = np.zeros((1, crop, crop, 3), "float32")
    boxes = np.zeros((1, given_regions, 4), "float32")
    model((images, boxes) if given_regions else images)


@contextlib.contextmanager
def _precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
