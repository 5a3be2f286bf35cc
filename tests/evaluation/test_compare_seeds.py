"""Tests the comparison of runs of several seeds with their pooled classifiers."""

import dataclasses

import keras
import pytest

from ram_tf.evaluation import compare_seeds, infer_split, results
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.metrics import multi_label
from ram_tf.runs import run_models, weights_file
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from tests.support.small_settings import SMALL
from tests.support.squares import write_squares


def compared_by_hand():
    """Returns a result of `compare` for two runs."""
    nan = float("nan")
    return {
        "precisions": [
            {
                "labels": 8,
                "attention": [0.832, 0.824],
                "pooled": [0.826, 0.818],
                "of_baseline": [False, True],
                "difference": 0.006,
                "low": -0.0012,
                "high": 0.0134,
            }
        ],
        "regions": {
            "region_iou": [0.052, 0.058],
            "pointing": [0.88, 0.9],
            "pointing_evidence": [nan, nan],
            "region_spread": [0.1, 0.14],
            "pointing_pairs": [307, 307],
        },
        "epochs": (24, 20),
    }


def test_the_table_has_each_run_the_means_and_the_interval():
    table = compare_seeds.table(compared_by_hand(), ["runs/0", "runs/1"])
    assert table.splitlines() == [
        "mAP, 8 labels        attention      pooled  difference",
        "runs/0                    83.2        82.6  +0.6",
        "runs/1                    82.4        81.8  +0.6",
        "mean                      82.8        82.2  +0.6 (-0.1 to +1.3)",
        "standard deviation         0.6         0.6  0.0",
        "",
        "regions, percent             pointing  pointing_evidence  region_spread"
        "  region_iou",
        "runs/0                           88.0                  \N{EN DASH}"
        "           10.0         5.2",
        "runs/1                           90.0                  \N{EN DASH}"
        "           14.0         5.8",
        "mean ± standard deviation  89.0 ± 1.4                  \N{EN DASH}"
        "     12.0 ± 2.8   5.5 ± 0.4",
    ]


def test_one_run_has_no_deviation():
    compared = compared_by_hand()
    for metrics in (*compared["precisions"], compared["regions"]):
        for name in metrics:
            if isinstance(metrics[name], list):
                metrics[name] = metrics[name][:1]
    table = compare_seeds.table(compared, ["runs/0"])
    assert "deviation" not in table
    assert "±" not in table


def test_the_table_names_the_pooled_classifiers_that_were_compared():
    names = ["runs/0", "runs/1"]
    table = compare_seeds.table(compared_by_hand(), names, "runs/longer")
    assert (
        "pooled, the better of two: its own step 1 for runs/0, runs/longer for runs/1"
    ) in table.splitlines()
    last = "runs/longer: step 1 of 24 epochs; both steps of runs/0 have 20"
    assert table.splitlines()[-1] == last
    assert "longer" not in compare_seeds.table(compared_by_hand(), names)


@pytest.mark.parametrize("changed", ["order of labels", "labels", "images"])
def test_runs_with_other_test_images_or_labels_are_refused(tmp_path, changed):
    first = write_squares(new_folder(tmp_path / "first"))
    other = write_squares(new_folder(tmp_path / "other"))
    names = ("blue", "green", "red")
    if changed == "order of labels":
        names = names[::-1]
        (other / "labels.txt").write_text("\n".join(names))
    else:
        rows = (other / "val.csv").read_text().splitlines()
        rows[-1] = "val15.png,red" if changed == "labels" else "val0.png,red"
        rows = rows if changed == "labels" else rows[:-1]
        (other / "val.csv").write_text("\n".join(rows))
    runs = [
        Run.start(
            tmp_path / f"run{i}",
            SMALL.replace(data_dir=str(folder)),
            labels,
        )
        for i, (folder, labels) in enumerate(
            [(first, ("blue", "green", "red")), (other, names)]
        )
    ]
    with pytest.raises(ValueError, match=r"same images and labels.*others in .*run1"):
        compare_seeds.compare(runs)


def new_folder(folder):
    folder.mkdir()
    return folder


def test_euclidean_runs_are_compared_by_probabilities(squares, tmp_path):
    # After a softmax over labels the ranking of images differs from that of scores.
    settings = SMALL.replace(data_dir=str(squares), loss="euclidean")
    run = Run.start(tmp_path, settings, ("blue", "green", "red"))
    keras.utils.set_random_seed(0)
    pooled = run_models.build_pooled(run, "average")
    model = run_models.build_attention(run, pooled)
    # Initial scores hardly differ from image to image.
    for head in (pooled.classifier, model.attention.region_lstm.classifier):
        head.kernel.assign(10 * head.kernel)
    weights_file.save(pooled, run.pooled_weights)
    weights_file.save(model, run.model_weights)
    compared = compare_seeds.compare([run])["precisions"]

    split = run_splits.load_report(settings, None, run.label_names)
    outputs = infer_split.infer(run_models.view(run, model), split, settings)
    by_scores, by_probabilities = (
        multi_label.mean_average_precision(split.labels, outputs[name])
        for name in ("scores", "probabilities")
    )
    assert abs(by_probabilities - by_scores) > 0.01
    (found,) = (each for each in compared if each["min_positives"] == 1)
    assert found["attention"] == [pytest.approx(by_probabilities)]


def write_run(folder, squares, seed, pooled_only=False, **changes):
    """Returns a run like one of fit.py, with initial weights."""
    settings = SMALL.replace(data_dir=str(squares), **changes)
    run = Run.start(folder, settings, ("blue", "green", "red"))
    keras.utils.set_random_seed(seed)
    pooled = run_models.build_pooled(run, "average")
    weights_file.save(pooled, run.pooled_weights)
    if not pooled_only:
        weights_file.save(
            run_models.build_attention(run, pooled),
            run.model_weights,
        )
    return run


@pytest.fixture(scope="module")
def runs(squares, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / str(seed), squares, seed) for seed in (0, 1)]


def test_each_run_is_compared_with_the_better_pooled_classifier(
    runs, squares, tmp_path
):
    alone = compare_seeds.compare(runs)
    own = {each["min_positives"]: each["pooled"] for each in alone["precisions"]}
    outcomes = set()
    for seed in (2, 3):
        other = write_run(tmp_path / str(seed), squares, seed, True, pooled_epochs=2)
        compared = compare_seeds.compare(runs, other)
        split = run_splits.load_report(other.config, None, other.label_names)
        scores = infer_split.infer_pooled(
            run_models.load_pooled(other), split, other.config
        )
        for each in compared["precisions"]:
            least = each["min_positives"]
            found = multi_label.mean_average_precision(
                split.labels, scores["probabilities"], min_positives=least
            )
            better = [max(before, found) for before in own[least]]
            assert each["pooled"] == pytest.approx(better)
            chosen = [found > before for before in own[least]]
            assert each["of_baseline"] == chosen
            outcomes.update(chosen)
            gains = [a - p for a, p in zip(each["attention"], better, strict=True)]
            assert each["difference"] == pytest.approx(sum(gains) / 2)
        assert compared["regions"] == alone["regions"]
        assert compared["epochs"] == (2, 2)
    assert outcomes == {False, True}


def test_metrics_of_regions_are_those_of_evaluate(runs):
    regions = compare_seeds.compare(runs)["regions"]
    split = run_splits.load_report(runs[0].config, None, runs[0].label_names)
    for i, run in enumerate(runs):
        result = infer_split.evaluate_runs([run], split, run.config, ViewSettings())
        for name in results.REGION_METRICS:
            assert regions[name][i] == result[name]


def test_a_baseline_that_was_trained_on_the_images_is_refused(squares, tmp_path):
    run = write_run(tmp_path / "run", squares, 0)
    other = write_run(tmp_path / "other", squares, 1, pooled_only=True)
    split = run_splits.load_report(run.config, None, run.label_names)
    other.record_training_images(
        dataclasses.replace(split, name="train"), split.take([])
    )
    settings = other.config.replace(train_split="all")
    other = dataclasses.replace(other, config=settings)
    with pytest.raises(ValueError, match="trained or validated"):
        compare_seeds.compare([run], other)
