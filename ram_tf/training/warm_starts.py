"""The known ways to begin a training step with more than random weights."""

from collections.abc import Callable
from typing import NamedTuple

from ram_tf.models.networks import AttentionModel, PooledClassifier
from ram_tf.training import linear_probe


class WarmStart(NamedTuple):
    """A way to begin a step.

    Args:
        name: What it begins from.
        model: The class of models that it is for.
        chosen: From the `Config` to whether the settings ask for it.
        begin: Puts the weights into a model, from the model, the training split and
            the `Config`.
    """

    name: str
    model: type
    chosen: Callable
    begin: Callable


def _is_built_so(model, split, settings):
    """Does nothing: `models.factory` has copied step 1's weights already."""


WARM_STARTS = (
    WarmStart(
        "linear probe",
        PooledClassifier,
        lambda settings: settings.training.probe_cost > 0,
        linear_probe.start,
    ),
    WarmStart(
        "classifier of step 1",
        AttentionModel,
        lambda settings: settings.attention.head_start == "pooled",
        _is_built_so,
    ),
)


def warm_starts(model, settings):
    """Returns those of `WARM_STARTS` that the settings ask for with a model."""
    return [
        start
        for start in WARM_STARTS
        if isinstance(model, start.model) and start.chosen(settings)
    ]
