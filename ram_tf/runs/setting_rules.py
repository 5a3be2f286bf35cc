"""Which settings of a run go together.

Rules are `(name, fits, expected)`: a setting, whether it does, and what would.
"""

import itertools
import pathlib


def check(settings):
    """Checks the settings of a run against each other.

    Args:
        settings: The `Config`.

    Raises:
        ValueError: A value does not go with another; says which, what is expected and
            what came.
    """
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
            f"Received: {name}={settings[name]}"
        )


def _of_numbers(settings):
    yield "start_scale", settings.attention.start_scale <= 1, "1 or less, the whole map"
    margin = settings.image.crop_margin
    larger = f"more than the crop margin of {margin} pixels"
    yield "image_size", settings.image.image_size > margin, larger


def _of_texts(settings):
    # A config.json that came from elsewhere does not say where we write.
    plain = pathlib.PurePath(settings.name).name == settings.name != ".."
    yield "name", plain, "a name without folders"
    yield "zooms", all(1 <= zoom < 4 for zoom in settings.image.zoom_factors), "1 to 4"
    yield "constraints", set(settings.loss.constraints) <= set("ASP"), "A, S and P"


def _of_heads(settings):
    """What step 1's classifier and the head of step 2 ask of each other."""
    flat = "flatten" in (settings.model.pooling, settings.attention.region_pooling)
    layout, hidden = settings.attention.layout_channels, settings.model.pooled_units
    whole = settings.attention.region_size > 1 or not (flat or layout)
    yield "region_size", whole, "2 or more cells to pool by 2x2"
    yield (
        "pooled_units",
        not (settings.training.probe_cost and hidden),
        "0 with probe_cost",
    )
    if settings.attention.head_start != "xavier" and flat:
        yield (
            "pooling",
            settings.model.pooling == settings.attention.region_pooling,
            "region_pooling",
        )
    if settings.attention.head_start == "feature":
        yield "layout_channels", not layout, "0 with 'feature'"
        # W_fx comes from step 1's hidden layer.
        taken = f"{settings.attention.units}, as units, with head_start 'feature'"
        yield "pooled_units", hidden == settings.attention.units, taken
    if settings.attention.localization == "content":
        where = "with localization 'content'"
        # Its evidence is what step 1's linear classifier says of the mean of cells.
        yield (
            "head_start",
            settings.attention.head_start == "pooled",
            f"'pooled' {where}",
        )
        yield "pooled_units", not hidden, f"0 {where}"
        for name in ("pooling", "region_pooling"):
            fits = settings[name] == "average"
            yield name, fits, f"'average' {where}"
        # Its probabilities are each label's own.
        yield (
            "loss",
            settings.loss.classification != "euclidean",
            f"'bce' or 'asl' {where}",
        )
        # Its regions have no anchors, and are not found by their layout.
        yield "starts", settings.attention.starts == "whole", f"'whole' {where}"
        yield "layout_channels", not layout, f"0 {where}"
        anchored = settings.model.kind == "rdar" and "A" in settings.loss.constraints
        yield "constraints", not anchored, f"S and P alone {where}"


def _of_agents(settings):
    if settings.model.kind == "rarl":
        # Its agent chooses its regions itself.
        found = settings.attention.region_source == "attention"
        yield "region_source", found, "'attention' with rarl"
