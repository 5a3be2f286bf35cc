"""Several trainings beside their pooled classifiers."""

import dataclasses

import keras
import pytest
from small_run import SMALL
from squares import write_squares

from ram_tf import evaluation, metrics, run_splits, seeds, weights_file
from ram_tf.run import Run


def test_the_table_gives_each_run_the_means_and_the_interval():
    compared = [
        {
            "labels": 8,
            "attention": [0.832, 0.824],
            "pooled": [0.826, 0.818],
            "difference": 0.006,
            "low": -0.0012,
            "high": 0.0134,
        }
    ]
    assert seeds.table(compared, ["runs/0", "runs/1"]).splitlines() == [
        "mAP, 8 labels   attention      pooled  difference",
        "runs/0               83.2        82.6  +0.6",
        "runs/1               82.4        81.8  +0.6",
        "mean                 82.8        82.2  +0.6 (-0.1 to +1.3)",
    ]


@pytest.mark.parametrize("changed", ["order of labels", "labels", "images"])
def test_runs_that_report_on_other_images_or_labels_are_refused(tmp_path, changed):
    first = write_squares(made(tmp_path / "first"))
    other = write_squares(made(tmp_path / "other"))
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
            dataclasses.replace(SMALL, data_dir=str(folder)),
            labels,
        )
        for i, (folder, labels) in enumerate(
            [(first, ("blue", "green", "red")), (other, names)]
        )
    ]
    with pytest.raises(ValueError, match=r"same images and labels.*others in .*run1"):
        seeds.compare(runs)


def made(folder):
    folder.mkdir()
    return folder


def test_euclidean_runs_are_compared_by_probabilities(squares, tmp_path):
    # Under a softmax over labels these rank images in another order than scores do.
    settings = dataclasses.replace(SMALL, data_dir=str(squares), loss="euclidean")
    run = Run.start(tmp_path, settings, ("blue", "green", "red"))
    keras.utils.set_random_seed(0)
    pooled = run.build_pooled("average")
    model = run.build_model(pooled)
    # Fresh scores hardly differ from image to image.
    for head in (pooled.classifier, model.attention.region_lstm.classifier):
        head.kernel.assign(10 * head.kernel)
    weights_file.save(pooled, run.pooled_weights)
    weights_file.save(model, run.model_weights)
    compared = seeds.compare([run])

    split = run_splits.load_report(settings, None, run.label_names)
    outputs = evaluation.look(run.view(model), split, settings)
    by_scores, by_shares = (
        metrics.mean_average_precision(split.labels, outputs[name])
        for name in ("scores", "probabilities")
    )
    assert abs(by_shares - by_scores) > 0.01
    (found,) = (each for each in compared if each["min_positives"] == 1)
    assert found["attention"] == [pytest.approx(by_shares)]
