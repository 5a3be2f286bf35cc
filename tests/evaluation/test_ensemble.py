"""Tests ensembles of runs and the flags that configure their views."""

import argparse
import dataclasses

import numpy as np
import pytest

from ram_tf.cli import evaluation_flags
from ram_tf.evaluation.ensemble import ViewSettings, ensemble_view
from tests.support.untrained_runs import (
    evaluate,
    precisions,
    run_eagerly,
    start_run,
)


def test_two_runs_at_two_scales_are_an_ensemble(runs, split):
    together = ensemble_view(runs, ViewSettings())
    assert together.sizes == (40, 48)
    outputs = run_eagerly(together, split)
    alone = [run_eagerly(ensemble_view([run], ViewSettings()), split) for run in runs]
    scores = np.mean([a["scores"] for a in alone], 0)
    np.testing.assert_allclose(outputs["scores"], scores, atol=1e-5)
    assert np.abs(alone[0]["scores"] - alone[1]["scores"]).max() > 0.01
    result = evaluate(runs, split, ViewSettings())
    assert result["protocol"]["scales"] == [40, 48]
    assert result["AP"] == pytest.approx(precisions(split, outputs))
    # It is compared with the first run alone.
    assert result["single_view"]["AP"] == pytest.approx(precisions(split, alone[0]))
    assert result["pointing_evidence"] is None
    assert evaluate(runs[:1], split, ViewSettings())["pointing_evidence"] >= 0


@pytest.mark.parametrize(
    ("pooling", "asked", "described"),
    [("max", None, "pooled"), ("flatten", None, "z"), ("flatten", "x", "x")],
)
def test_the_description_for_svms_depends_on_how_regions_are_pooled(
    squares, tmp_path, pooling, asked, described
):
    run = start_run(tmp_path, squares, seed=0, region_pooling=pooling)
    views = ViewSettings(source="features", svm=True, feature=asked)
    assert ensemble_view([run], views).describe == described


def test_one_run_processes_all_scales_and_each_of_several_its_own(runs):
    one = ensemble_view(runs[:1], ViewSettings((40, 48)))
    assert (one.sizes, len(one.models)) == ((40, 48), 1)
    assert one.about["crops"] == [32, 40]
    two = ensemble_view(runs, ViewSettings((56, 64)))
    assert (two.sizes, len(two.models)) == ((56, 64), 2)
    with pytest.raises(ValueError, match=r"Expected 2 --scales.*Received: 40, 48, 56"):
        ensemble_view(runs, ViewSettings((40, 48, 56)))


def test_a_scale_without_room_for_the_margin_is_refused(runs):
    with pytest.raises(ValueError, match="more than the crop margin of 8 pixels"):
        ensemble_view(runs[:1], ViewSettings((8,)))


def test_runs_of_other_labels_or_loss_are_no_ensemble(runs, squares, tmp_path):
    other_loss = start_run(tmp_path / "run", squares, seed=1, loss="euclidean")
    other_labels = dataclasses.replace(runs[0], label_names=("blue", "red", "green"))
    for other in (other_loss, other_labels):
        with pytest.raises(ValueError, match="same labels and loss") as refused:
            ensemble_view([runs[0], other], ViewSettings())
        assert str(other.folder) in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ViewSettings()),
        ("--views 10", ViewSettings(count=10, source="features")),
        ("--svm", ViewSettings(source="features", svm=True)),
        ("--views 5 --views_from image", ViewSettings(count=5)),
        (
            "--scales 512 640 --svm --feature x",
            ViewSettings((512, 640), 1, "features", True, "x"),
        ),
    ],
)
def test_several_views_come_from_features_by_default(flags, expected):
    parser = argparse.ArgumentParser()
    evaluation_flags.add_arguments(parser)
    views, _ = evaluation_flags.from_arguments(parser.parse_args(flags.split()))
    assert views == expected


def test_a_feature_without_svms_is_refused():
    parser = argparse.ArgumentParser()
    evaluation_flags.add_arguments(parser)
    with pytest.raises(ValueError, match=r"Expected --svm with it.*--feature z"):
        evaluation_flags.from_arguments(parser.parse_args(["--feature", "z"]))
