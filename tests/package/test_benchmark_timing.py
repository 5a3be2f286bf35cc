"""Benchmark ratios are computed from times that candidates take in turns."""

import numpy as np
import pytest

from benchmarks import record, run, timing
from benchmarks.timing import Candidate, Ratio

RATIOS = [ratio for group in run.GROUPS for ratio in group.ratios]


class Clock:
    """A clock that only the candidates it makes move forward."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def candidate(self, name, *seconds, images=1):
        remaining = iter(seconds)

        def call():
            self.calls.append(name)
            self.now += next(remaining)

        return Candidate(call, images)


def test_candidates_take_turns_after_one_untimed_call_each():
    clock = Clock()
    candidates = {
        "a": clock.candidate("a", 100, 2, 4),
        "b": clock.candidate("b", 100, 3, 5, images=10),
    }
    seconds = timing.alternate(candidates, 2, clock)
    assert clock.calls == ["a", "b"] * 3
    assert seconds == {"a": [2, 4], "b": [0.3, 0.5]}


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    clock = Clock()
    candidates = {
        "over": clock.candidate("over", 0, 4, 9, 8),
        "under": clock.candidate("under", 0, 1, 3, 8),
        "neither": clock.candidate("neither"),
    }
    ratio = Ratio("ratio", "over", "under")
    measured = timing.measure([ratio], candidates, 3, clock=clock)["ratio"]
    # The ratio of the medians would be 8 / 3.
    assert (measured.value, measured.low, measured.high) == (3, 1, 4)
    assert measured.seconds == {"over": 8, "under": 3}
    assert measured.rounds == 3


def test_candidates_shared_by_ratios_are_timed_once():
    clock = Clock()
    candidates = {name: clock.candidate(name, 1, 1) for name in "abc"}
    ratios = [Ratio("one", "a", "b"), Ratio("other", "c", "b")]
    timing.measure(ratios, candidates, 1, clock=clock)
    assert clock.calls == ["a", "b", "c"] * 2


# Seconds per image of each candidate.
SECONDS = {
    "backbone": 2.0,
    "model": 3.0,
    "ten_views": 5.0,
    "ten_views_image": 25.0,
    "proposals": 45.0,
    "proposals_shared": 21.0,
    "recurrence": 8.0,
    "sampling": 1.0,
    "w_fx": 3.0,
    "functions": 0.25,
    "pipeline": 0.5,
    "large": 10.0,
    "ram": 2.0,
    "disk": 4.0,
    "reading": 1.5,
    "serving_default": 7.0,
    "keras": 4.0,
    "step": 6.0,
    "backbone_step": 4.0,
    "step_bfloat16": 9.0,
    "step_xla": 18.0,
}
EXPECTED = {
    "model_over_backbone": 1.5,
    "ten_views_over_backbone": 2.5,
    "ten_views_image_over_backbone": 12.5,
    "ten_views_image_over_shared": 5.0,
    "proposals_over_regions": 15.0,
    "proposals_shared_over_regions": 7.0,
    "share_sampling": 0.125,
    "share_w_fx": 0.375,
    "share_rest": 0.5,
    # 2 images per second over 4.
    "pipeline_over_functions": 0.5,
    "ram_cache_over_decoding": 5.0,
    "disk_cache_over_decoding": 2.5,
    "reading_over_functions": 6.0,
    "saved_model_over_keras": 1.75,
    "step_over_backbone_step": 1.5,
    # 2 images per second over 1/6.
    "pipeline_over_step": 12.0,
    "step_bfloat16_over_step": 1.5,
    "step_xla_over_step": 3.0,
}


def test_every_ratio_has_an_expected_value():
    assert sorted(ratio.name for ratio in RATIOS) == sorted(EXPECTED)


@pytest.mark.parametrize("ratio", RATIOS, ids=lambda ratio: ratio.name)
def test_a_ratio_compares_the_candidates_in_its_name(ratio):
    seconds = {name: [value] * 2 for name, value in SECONDS.items()}
    assert ratio.per_round(seconds) == [EXPECTED[ratio.name]] * 2


def test_shares_of_uneven_rounds_sum_to_one():
    rng = np.random.default_rng(0)
    clock = Clock()
    candidates = {
        name: clock.candidate(name, 0, *rng.uniform(1, 9, 4))
        for name in ("recurrence", "sampling", "w_fx")
    }
    shares = [ratio for ratio in RATIOS if ratio.name.startswith("share_")]
    measured = timing.measure(shares, candidates, 4, clock=clock)
    assert sum(share.value for share in measured.values()) == pytest.approx(
        1, abs=1e-12
    )


def test_targets_are_the_required_ones():
    targets = {f.name: record.target(f) for f in RATIOS if record.target(f)}
    assert targets == {
        "model_over_backbone": "<= 1.15",
        "ten_views_over_backbone": "<= 2.6",
        "ten_views_image_over_shared": ">= 3",
        "proposals_over_regions": ">= 10",
        "pipeline_over_functions": ">= 0.9",
        "ram_cache_over_decoding": ">= 2",
        "disk_cache_over_decoding": ">= 2",
        "reading_over_functions": "<= 1.5",
        "pipeline_over_step": ">= 3",
        "saved_model_over_keras": "<= 1.05",
    }
