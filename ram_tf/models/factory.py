"""Makes the models that a run's settings describe."""

import contextlib

import keras
import numpy as np

from ram_tf.models import backbones, losses, networks
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention


def pooled_classifier(settings, num_labels, pooling, pretrained=True):
    """Builds the classifier of step 1.

    Args:
        settings: The `Config`.
        num_labels: L.
        pooling: "average", "max" or "flatten".
        pretrained: Whether to load the backbone's weights, and those of its hidden
            layer where the head is of the same shape (the paper's section 5.1 copies
            W_fx without saying from where); False where weights of the whole model
            will be loaded.
    """
    with _precision(settings.precision):
        backbone = backbones.build(
            settings.backbone,
            settings.weights if pretrained else "none",
            settings.frozen,
        )
        pooled = networks.PooledClassifier(
            backbone,
            num_labels,
            settings.objective,
            pooling,
            settings.pooled_units or None,
            (settings.region_size,) * 2,
            settings.dropout,
        )
        _call_once(pooled, settings.crop)
    if pretrained and pooling == "flatten" and pooled.feature:
        hidden = backbones.hidden_layer(
            settings.backbone, settings.weights, pooled.feature.kernel.shape
        )
        if hidden:
            print(f"W_fx begins as the hidden layer of {settings.backbone}")
            pooled.feature.set_weights(hidden)
    return pooled


def attention_model(settings, num_labels, pooled):
    """Builds the attention model on the backbone of step 1's classifier.

    Args:
        settings: The `Config`.
        num_labels: L.
        pooled: What `pooled_classifier` returned; its head starts the attention's where
            `head_start` says so.
    """
    kind = {"rdar": networks.RDAR, "rarl": networks.RARL}[settings.model]
    with _precision(settings.precision):
        attention = _attention(settings, num_labels)
        built = kind(
            pooled.backbone,
            attention,
            settings.objective,
            settings.crop / settings.image_size,
        )
        _call_once(built, settings.crop, settings.given_regions * settings.regions)
    feature = pooled.feature and pooled.feature.get_weights()
    if settings.head_start == "feature":
        attention.region_lstm.feature.set_weights(feature)
    if settings.head_start == "pooled":
        kernel, bias = pooled.classifier.get_weights()
        started = attention.region_lstm.start_as(
            (kernel, bias), feature, settings.context
        )
        if attention.content is not None:
            factors, readout = started
            attention.content.start_as(factors, bias, readout)
        if (kernel := attention.location_kernel) is not None:
            # Scores begin as step 1's: regions begin where their biases say.
            kernel.assign(keras.ops.zeros_like(kernel))
    return built


def _attention(settings, num_labels):
    shared = {
        "num_labels": num_labels,
        "units": settings.units,
        "region_size": (settings.region_size,) * 2,
        "region_pooling": settings.region_pooling,
        "layout_channels": settings.layout_channels,
        "dropout": settings.dropout,
        "localization": settings.localization if settings.finds_regions else "linear",
        "start_scale": settings.start_scale,
        "name": "attention",
    }
    if settings.model == "rdar":
        # None for the paper's shared bias.
        starts = losses.starting_regions(settings.regions, settings.start_scale)
        return RecurrentMemorizedAttention(
            **shared,
            num_regions=settings.regions,
            starts=starts if settings.starts == "anchors" else None,
            given_regions=settings.given_regions,
        )
    fixed = settings.locations == "anchors"
    anchored = fixed or settings.starts == "anchors"
    return ReinforcedAttention(
        **shared,
        num_steps=settings.steps,
        starts=losses.starting_centres(settings.steps) if anchored else None,
        locations="fixed" if fixed else settings.locations,
        sigma=settings.sigma,
        episodes=settings.episodes,
        seed=settings.seed,
    )


def _call_once(built, crop, given_regions=0):
    """Creates the weights; the size of the image does not matter for them."""
    images = np.zeros((1, crop, crop, 3), "float32")
    boxes = np.zeros((1, given_regions, 4), "float32")
    built((images, boxes) if given_regions else images)


@contextlib.contextmanager
def _precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
