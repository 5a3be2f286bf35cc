"""Which values the settings of a run may have, and which of them go together.

Rules are `(name, fits, expected)`: a setting, whether it does, and what would.
"""

import dataclasses
import itertools
import pathlib

FROM_1 = (
    "regions steps episodes region_size batch_size epochs pooled_epochs max_pixels"
).split()
ABOVE_0 = "pooled_learning_rate learning_rate units sigma start_scale".split()
FROM_0 = (
    "crop_margin backbone_rate localization_rate clip_norm probe_cost gamma "
    "lambda_anchor lambda_positive alpha beta lambda_reinforce lambda_baseline seed "
    "patience layout_channels pooled_units"
).split()
BELOW_1 = "dropout ema frozen".split()
SHARES = "colour_jitter context precision_floor".split()


def check(settings):
    """Checks all settings of a run.

    Args:
        settings: The `Config`.

    Raises:
        ValueError: A value is no allowed choice, out of range, or does not go with
            another; says which, what is expected and what came.
    """
    for field in dataclasses.fields(settings):
        value, choices = getattr(settings, field.name), field.metadata["choices"]
        if choices and value not in choices:
            raise ValueError(
                f"Unknown {field.name}. Expected one of: {', '.join(choices)}. "
                f"Received: {value!r}"
            )
    for rule in itertools.chain(
        _of_numbers(settings),
        _of_texts(settings),
        _of_heads(settings),
        _of_agents(settings),
    ):
        require(settings, *rule)


def require(settings, name, fits, expected):
    """Raises a `ValueError` where a setting does not do.

    Args:
        settings: The `Config`.
        name: Of the setting.
        fits: Whether it does.
        expected: What would.
    """
    if not fits:
        raise ValueError(
            f"{name} is out of range. Expected {expected}. "
            f"Received: {name}={getattr(settings, name)}"
        )


def _of_numbers(settings):
    for names, fits, expected in (
        (FROM_1, lambda value: value >= 1, "1 or more"),
        (ABOVE_0, lambda value: value > 0, "more than 0"),
        (FROM_0, lambda value: value >= 0, "0 or more"),
        (BELOW_1, lambda value: 0 <= value < 1, "0 or more and below 1"),
        (SHARES, lambda value: 0 <= value <= 1, "0 to 1"),
    ):
        for name in names:
            yield name, fits(getattr(settings, name)), expected
    yield "start_scale", settings.start_scale <= 1, "1 or less, the whole map"
    margin = settings.crop_margin
    larger = f"more than the crop margin of {margin} pixels"
    yield "image_size", settings.image_size > margin, larger


def _of_texts(settings):
    # A config.json that came from elsewhere does not say where we write.
    plain = pathlib.PurePath(settings.name).name == settings.name != ".."
    yield "name", plain, "a name without folders"
    yield "zooms", all(1 <= zoom < 4 for zoom in settings.zoom_factors), "1 to 4"
    yield "constraints", set(settings.constraints) <= set("ASP"), "A, S and P"


def _of_heads(settings):
    """What step 1's classifier and the head of step 2 ask of each other."""
    flat = "flatten" in (settings.pooling, settings.region_pooling)
    layout, hidden = settings.layout_channels, settings.pooled_units
    whole = settings.region_size > 1 or not (flat or layout)
    yield "region_size", whole, "2 or more cells to pool by 2x2"
    yield "pooled_units", not (settings.probe_cost and hidden), "0 with probe_cost"
    if settings.head_start != "xavier" and flat:
        yield "pooling", settings.pooling == settings.region_pooling, "region_pooling"
    if settings.head_start == "feature":
        yield "layout_channels", not layout, "0 with 'feature'"
        # W_fx comes from step 1's hidden layer.
        taken = f"{settings.units}, as units, with head_start 'feature'"
        yield "pooled_units", hidden == settings.units, taken
    if settings.localization == "content":
        where = "with localization 'content'"
        # Its evidence is what step 1's linear classifier says of the mean of cells.
        yield "head_start", settings.head_start == "pooled", f"'pooled' {where}"
        yield "pooled_units", not hidden, f"0 {where}"
        for name in ("pooling", "region_pooling"):
            fits = getattr(settings, name) == "average"
            yield name, fits, f"'average' {where}"
        # Its probabilities are each label's own.
        yield "loss", settings.loss != "euclidean", f"'bce' or 'asl' {where}"
        # Its regions have no anchors, and are not found by their layout.
        yield "starts", settings.starts == "whole", f"'whole' {where}"
        yield "layout_channels", not layout, f"0 {where}"
        anchored = settings.model == "rdar" and "A" in settings.constraints
        yield "constraints", not anchored, f"S and P alone {where}"


def _of_agents(settings):
    if settings.model == "rarl":
        # Its agent chooses its regions itself.
        found = settings.region_source == "attention"
        yield "region_source", found, "'attention' with rarl"
