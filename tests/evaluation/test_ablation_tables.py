"""Tests the ablation tables against the paper's numbers, copied here."""

import re

import pytest

from ram_tf.evaluation.papers import ablation_tables
from ram_tf.runs.config import Config

# Section 5.3 of the paper, row by row.
PAPER = {
    3: {"object proposals": [88.6], "attentional regions": [90.4]},
    4: {
        "null": [89.9],
        "S+P": [90.2],
        "A+S": [90.4],
        "A+P": [90.3],
        "A+S+P": [91.3],
    },
    5: {"null": [65.8, 70.9, 71.5], "A+S+P": [66.5, 71.3, 72.2]},
    6: {
        "s=512 + single-crop": [90.4, 70.4],
        "s=640 + single-crop": [90.4, 70.5],
        "s=512 + ten-crop": [91.3, 72.2],
        "s=640 + ten-crop": [91.3, 72.3],
        "two scales + ten-crop": [91.9, 73.4],
    },
}


@pytest.mark.parametrize("scales", [None, (64, 80)])
def test_table_6_has_two_different_scales(scales):
    table = ablation_tables.of(6, 64, scales)
    sizes = {changes["image_size"] for row in table.rows for changes in row.models}
    assert sizes == ({64, 96} if scales is None else {64, 80})
    with pytest.raises(ValueError, match=r"two different --scales.*Received: 64 64"):
        ablation_tables.of(6, 64, (64, 64))


def compared(table, means=(12.34, 56.78, 90.12) * 2, deviation=None, views=None):
    """Returns a result of `ablation.compare` with the same metrics in all rows."""
    ours = {
        name: {"mean": mean, "deviation": deviation, "values": [mean]}
        for name, mean in zip(table.metrics, means, strict=False)
    }
    return {
        "table": table.number,
        "title": table.title,
        "dataset": "voc2007",
        "split": "test",
        "images": 4952,
        "seeds": [0] if deviation is None else [0, 1, 2],
        "svm": False,
        "columns": list(table.columns),
        "pooled": {
            name: {"mean": 0.5, "deviation": None, "values": [0.5]}
            for name in table.metrics
        },
        "rows": [
            {
                "name": row.name,
                "views": views or row.views,
                "scales": [512],
                "paper": list(row.paper),
                "ours": ours,
            }
            for row in table.rows
        ],
    }


@pytest.mark.parametrize("number", PAPER)
def test_the_papers_numbers_are_next_to_ours(number):
    text = ablation_tables.text(compared(ablation_tables.of(number, 512)))
    assert text.startswith(f"Table {number}: ")
    rows = [line for line in text.splitlines() if "12.3" in line]
    found = {}
    for row in rows:
        name, *numbers = re.split(r"  +", row.strip())
        ours = 3 if number == 5 else 1
        assert numbers[:ours] == ["12.3", "56.8", "90.1"][:ours]
        found[name] = [float(number) for number in numbers[ours:]]
    assert found == PAPER[number]


def test_the_last_line_is_the_pooled_classifier():
    last = ablation_tables.text(compared(ablation_tables.of(5, 512))).splitlines()[-1]
    assert re.split(r"  +", last) == ["pooled classifier", "0.5", "0.5", "0.5"]


def test_several_seeds_are_shown_by_mean_and_deviation():
    table = ablation_tables.of(4, 512)
    text = ablation_tables.text(compared(table, deviation=0.25))
    assert text.count("12.3 ± 0.2") == 5
    assert "mean ± standard deviation over seeds 0 1 2" in text
    assert "±" not in ablation_tables.text(compared(table))


def test_a_missing_metric_is_a_dash():
    text = ablation_tables.text(compared(ablation_tables.of(3, 512), [None]))
    assert re.search(r"object proposals +\N{EN DASH} +88\.6", text)


def test_the_heading_names_the_scorer_and_the_views():
    table = ablation_tables.of(4, 512)
    plain = compared(table)
    head = ablation_tables.text(plain).splitlines()[1]
    assert head.startswith("ours: voc2007 test, 4952 images; ten-crop at 512; ")
    assert "scored by the network; seed 0" in head
    head = ablation_tables.text({**plain, "svm": True}).splitlines()[1]
    assert "scored by linear SVMs" in head
    head = ablation_tables.text(compared(table, views=5)).splitlines()[1]
    assert "five-crop (not ten: these images are not mirrored)" in head


@pytest.mark.parametrize(
    ("size", "scales", "expected"),
    [(512, None, (512, 640)), (104, None, (104, 128)), (104, (64, 96), (64, 96))],
)
def test_table_6_has_two_scales(size, scales, expected):
    table = ablation_tables.of(6, size, scales)
    sizes = [[model["image_size"] for model in row.models] for row in table.rows]
    small, large = expected
    assert sizes == [[small], [large], [small], [large], [small, large]]


@pytest.mark.parametrize("number", PAPER)
def test_rows_change_only_the_settings_of_their_names(number):
    changes = {row.name: row.models[0] for row in ablation_tables.of(number, 512).rows}
    for name, change in changes.items():
        Config.of(**change)
        if number == 3:
            assert change == {
                "region_source": name.split()[0]
                .replace("object", "proposals")
                .replace("attentional", "attention")
            }
        elif number < 6:
            letters = set(name) & set("ASP") if name != "null" else set()
            assert set(change["constraints"]) == letters
            assert set(change) == {"region_source", "constraints"}


def test_a_table_decides_the_settings_that_all_its_rows_have():
    decided = {number: ablation_tables.of(number, 512).decides for number in (3, 4, 6)}
    own = {"region_source"}
    assert decided == {3: own, 4: own | {"constraints"}, 6: set()}


def test_rarl_has_no_tables_of_proposals_and_constraints():
    for number in (3, 4, 5):
        with pytest.raises(ValueError, match=f"neither.*Received: --table {number}"):
            ablation_tables.of(number, 512, model="rarl")
    assert ablation_tables.of(6, 512, model="rarl").number == 6


def test_rdars_numbers_are_not_shown_next_to_rarls():
    rdar, rarl = (ablation_tables.of(6, 512, model=model) for model in ("rdar", "rarl"))
    assert [row.models for row in rarl.rows] == [row.models for row in rdar.rows]
    assert not any(
        "paper" in line for line in ablation_tables.text(compared(rarl)).splitlines()
    )
    assert any(
        "paper: mAP, MS-COCO" in line
        for line in ablation_tables.text(compared(rdar)).splitlines()
    )


def test_the_table_of_locations_needs_the_settings_of_rarl():
    with pytest.raises(ValueError, match="Expected --model rarl"):
        ablation_tables.of("locations", 512)


def test_pooled_classifiers_of_both_lengths_are_the_last_rows():
    both = compared(ablation_tables.LOCATIONS)
    both["pooled_longer"] = both["pooled"] | {"mAP": {"mean": 2.5, "deviation": None}}
    *_, short, longer = ablation_tables.text(both).splitlines()
    assert re.match(r"pooled classifier +0\.5 ", short)
    assert re.match(r"the same, epochs of both steps +2\.5 ", longer)


def test_the_table_of_locations_changes_only_model_and_locations():
    table = ablation_tables.of("locations", 512, model="rarl")
    changes = [row.models[0] for row in table.rows]
    assert changes[0] == {"model": "rdar"}
    learnt = {"model": "rarl", "locations": "learnt"}
    others = [{**learnt, "locations": name} for name in ("random", "anchors")]
    unrewarded = {"model": "rarl", "lambda_reinforce": 0.0}
    assert changes[1:] == [learnt, unrewarded, *others]
    for change in changes:
        Config.of(**change)
    assert "paper" not in ablation_tables.text(compared(table))
