"""Tests that invalid settings are refused by name."""

import pytest

from ram_tf.runs.config import Config
from tests.support.setting_values import FIELDS


@pytest.mark.parametrize("margin", [64, 65])
def test_an_image_no_larger_than_the_margin_is_refused(margin):
    with pytest.raises(
        ValueError, match=f"crop margin of {margin} pixels.*image_size=64"
    ):
        Config.of(image_size=64, crop_margin=margin)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("regions", 0),
        ("region_size", 0),
        ("batch_size", 0),
        ("epochs", 0),
        ("pooled_epochs", -1),
        ("crop_margin", -1),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("ema", 1.0),
        ("learning_rate", 0.0),
        ("pooled_learning_rate", -1e-3),
        ("steps", 0),
        ("episodes", 0),
        ("sigma", 0.0),
        ("lambda_reinforce", -0.1),
        ("lambda_baseline", -0.1),
        ("lambda_anchor", -0.1),
        ("lambda_positive", -0.1),
        ("alpha", -0.1),
        ("beta", -0.1),
        ("start_scale", 0.0),
        ("start_scale", 1.1),
        ("max_pixels", 0),
        ("precision_floor", 1.1),
    ],
)
def test_numbers_out_of_range_are_refused(name, value):
    expected = rf"^{name} is out of range\. Expected .* Received: {name}={value}$"
    with pytest.raises(ValueError, match=expected):
        Config.of(**{name: value})


WITH_CHOICES = [
    name for name, (_, field) in FIELDS.items() if field.metadata["choices"]
]


@pytest.mark.parametrize("name", WITH_CHOICES)
def test_an_unknown_choice_is_refused(name):
    expected = rf"Unknown {name}\. Expected one of.*'neither'"
    with pytest.raises(ValueError, match=expected):
        Config.of(**{name: "neither"})


@pytest.mark.parametrize("name", ["../other", "/tmp/x", "a/b", ".."])
def test_a_name_with_folders_is_refused(name):
    with pytest.raises(ValueError, match="without folders"):
        Config.of(name=name)


def test_rarl_with_proposals_is_refused():
    with pytest.raises(ValueError, match=r"region_source.*with rarl"):
        Config.of(model="rarl", region_source="proposals")


AVERAGED = {"pooling": "average", "region_pooling": "average"}
FEATURE = {"head_start": "feature", "units": 64}
CONTENT = {
    **AVERAGED,
    "localization": "content",
    "constraints": "SP",
    "loss": "bce",
}
POOLED_CONTENT = {**CONTENT, "head_start": "pooled"}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"constraints": "ASX"}, "constraints"),
        ({"region_size": 1}, "region_size"),
        ({**AVERAGED, "region_size": 1, "layout_channels": 4}, "region_size"),
        ({"probe_cost": 0.1, "pooled_units": 64}, "pooled_units"),
        ({"pooling": "average", "head_start": "pooled"}, "pooling"),
        ({**AVERAGED, **FEATURE}, "pooled_units"),
        ({**AVERAGED, **FEATURE, "pooled_units": 65}, "pooled_units"),
        (
            {**AVERAGED, **FEATURE, "pooled_units": 64, "layout_channels": 4},
            "layout_channels",
        ),
        (CONTENT, "head_start"),
        ({**POOLED_CONTENT, "pooled_units": 64}, "pooled_units"),
        ({**POOLED_CONTENT, "pooling": "max"}, "pooling"),
        ({**POOLED_CONTENT, "region_pooling": "centre"}, "region_pooling"),
        ({**POOLED_CONTENT, "loss": "euclidean"}, "loss"),
        ({**POOLED_CONTENT, "layout_channels": 4}, "layout_channels"),
        ({**POOLED_CONTENT, "starts": "anchors"}, "starts"),
        ({**POOLED_CONTENT, "constraints": "ASP"}, "constraints"),
    ],
)
def test_settings_that_cannot_be_combined_are_refused(changes, refused):
    with pytest.raises(ValueError, match=rf"^{refused} is out of range.*{refused}="):
        Config.of(**changes)


def test_settings_that_can_be_combined_are_accepted():
    assert Config.of(**AVERAGED, region_size=1).attention.region_size == 1
    assert (
        Config.of(**AVERAGED, **FEATURE, pooled_units=64).attention.head_start
        == "feature"
    )
    assert Config.of(region_source="proposals").given_regions
    assert Config.of(**POOLED_CONTENT).attention.localization == "content"
    # RARL ignores the constraints.
    assert (
        Config.of(**{**POOLED_CONTENT, "constraints": "ASP"}, model="rarl").model.kind
        == "rarl"
    )
