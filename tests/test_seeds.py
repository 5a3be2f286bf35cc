"""Several trainings beside their pooled classifiers."""

from ram_tf import seeds


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
