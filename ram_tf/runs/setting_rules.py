"""Rules on which settings of a run can be combined.

A rule is `(name, fits, expected)`: a setting, whether its value is allowed, and the
allowed values in words.
"""

import itertools
import pathlib


def check(settings):
    """Checks all rules for the settings of a run.

    Args:
        settings: The `Config`.

    Raises:
        ValueError: A rule is broken.
    """
    for rule in itertools.chain(
        _number_rules(settings),
        _text_rules(settings),
        _head_rules(settings),
        _rarl_rules(settings),
    ):
        require(settings, *rule)


def require(settings, name, fits, expected):
    """Raises a `ValueError` on a setting if its value is not allowed.

    Args:
        settings: The `Config`.
        name: Name of the setting.
        fits: Whether its value is allowed.
        expected: The allowed values in words.
    """
    if not fits:
        raise ValueError(
            f"{name} is out of range. Expected {expected}. "
            f"Received: {name}={settings[name]}"
        )


def _number_rules(settings):
    yield "start_scale", settings.attention.start_scale <= 1, "1 or less, the whole map"
    margin = settings.image.crop_margin
    expected = f"more than the crop margin of {margin} pixels"
    yield "image_size", settings.image.image_size > margin, expected


def _text_rules(settings):
    # An untrusted config.json must not choose the folder that is written to.
    has_no_folder = pathlib.PurePath(settings.name).name == settings.name != ".."
    compiled = settings.training.jit_compile
    equal = settings.training.deterministic == "yes"
    yield "deterministic", not (compiled and equal), "auto or no with jit_compile"
    yield "name", has_no_folder, "a name without folders"
    yield "zooms", all(1 <= zoom < 4 for zoom in settings.image.zoom_factors), "1 to 4"
    yield (
        "constraints",
        set(settings.loss.constraints) <= set("ASP"),
        "only the letters A, S and P",
    )


def _head_rules(settings):
    """Yields rules on step 1's classifier and the head of step 2."""
    flat = "flatten" in (settings.model.pooling, settings.attention.region_pooling)
    layout, hidden = settings.attention.layout_channels, settings.model.pooled_units
    poolable = settings.attention.region_size > 1 or not (flat or layout)
    yield "region_size", poolable, "2 or more cells, which are pooled by 2x2"
    yield (
        "pooled_units",
        not (settings.training.probe_cost and hidden),
        "0 with probe_cost",
    )
    if settings.attention.head_start != "xavier" and flat:
        yield (
            "pooling",
            settings.model.pooling == settings.attention.region_pooling,
            "the same as region_pooling",
        )
    if settings.attention.head_start == "feature":
        yield "layout_channels", not layout, "0 with head_start 'feature'"
        # W_fx is initialised from step 1's hidden layer.
        expected = f"{settings.attention.units}, as units, with head_start 'feature'"
        yield "pooled_units", hidden == settings.attention.units, expected
    if settings.attention.localization == "content":
        where = "with localization 'content'"
        # Its evidence is the linear classifier of step 1 applied to the mean of cells.
        yield (
            "head_start",
            settings.attention.head_start == "pooled",
            f"'pooled' {where}",
        )
        yield "pooled_units", not hidden, f"0 {where}"
        for name in ("pooling", "region_pooling"):
            fits = settings[name] == "average"
            yield name, fits, f"'average' {where}"
        # It needs independent probabilities per label.
        yield (
            "loss",
            settings.loss.classification != "euclidean",
            f"'bce' or 'asl' {where}",
        )
        # Its regions have no anchors, and it does not use their layout.
        yield "starts", settings.attention.starts == "whole", f"'whole' {where}"
        yield "layout_channels", not layout, f"0 {where}"
        anchored = settings.model.kind == "rdar" and "A" in settings.loss.constraints
        yield "constraints", not anchored, f"only S and P {where}"


def _rarl_rules(settings):
    if settings.model.kind == "rarl":
        # RARL's policy chooses the regions.
        fits = settings.attention.region_source == "attention"
        yield "region_source", fits, "'attention' with rarl"
