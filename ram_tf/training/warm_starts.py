"""The ways to initialise a training step with better than random weights."""

from collections.abc import Callable
from typing import NamedTuple

from ram_tf.models.networks import AttentionModel, PooledClassifier
from ram_tf.training import label_transfer, linear_probe


class WarmStart(NamedTuple):
    """A way to initialise the weights of a step.

    Args:
        name: The source of the weights.
        model: The class of the models that it applies to.
        chosen: A function of the `Config` that returns whether the settings choose it.
        begin: A function of model, training split and `Config` that sets the model's
            weights.
    """

    name: str
    model: type
    chosen: Callable
    begin: Callable


def _already_initialised(model, split, settings):
    """Does nothing: `models.factory` has already copied the weights of step 1."""


WARM_STARTS = (
    WarmStart(
        "linear probe",
        PooledClassifier,
        lambda settings: (
            settings.training.probe_cost > 0 and not settings.model.start_from
        ),
        linear_probe.start,
    ),
    WarmStart(
        "step 1 of an earlier model, and a linear probe of new labels",
        PooledClassifier,
        lambda settings: bool(settings.model.start_from),
        label_transfer.start_pooled,
    ),
    WarmStart(
        "classifier of step 1",
        AttentionModel,
        lambda settings: settings.attention.head_start == "pooled",
        _already_initialised,
    ),
    WarmStart(
        "step 2 of an earlier model",
        AttentionModel,
        lambda settings: (
            bool(settings.model.start_from)
            and settings.attention.head_start != "pooled"
        ),
        label_transfer.start_attention,
    ),
)


def warm_starts(model, settings):
    """Returns the entries of `WARM_STARTS` that the settings choose for a model."""
    return [
        start
        for start in WARM_STARTS
        if isinstance(model, start.model) and start.chosen(settings)
    ]
