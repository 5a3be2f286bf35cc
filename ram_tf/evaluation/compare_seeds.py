"""Comparison of runs that differ in their seed with their pooled classifiers."""

import statistics

import numpy as np

from ram_tf.evaluation import infer_split, results, text_tables
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.metrics import bootstrap, multi_label
from ram_tf.runs.splits import run_splits

MIN_POSITIVES = (10, 1)  # of the labels that mAP is averaged over


def compare(runs, baseline=None):
    """Compares the attention models of runs with their pooled classifiers.

    Args:
        runs: Trained `Run`s that differ in their seed.
        baseline: A `Run` with step 1 trained, for as many epochs as both steps of the
            others. Each run is compared with the better, by mAP, of its own pooled
            classifier and the baseline's. None to compare with its own.

    Returns:
        A dict of
        `precisions`: a list of dicts, one for each of `MIN_POSITIVES` that a label has:
            `min_positives`; `labels`, their number; `attention` and `pooled`, the mAP
            of each run; `of_baseline`, for each run whether that pooled classifier is
            the baseline's; and the items of `bootstrap.paired_difference` of all runs;
        `regions`: from each metric of `results.evaluate_regions` to the values of the
            runs; `pointing_evidence` is always that of a run's own step 1;
        `epochs`: the epochs of the baseline's step 1 and of both steps of the first
            run; None without a baseline.

    Raises:
        ValueError: The runs have different labels or test images, or the baseline was
            trained on these images.
    """
    splits = [run_splits.load_report(run.config, None, run.label_names) for run in runs]
    first = splits[0]
    for run, split in zip(runs, splits, strict=True):
        if not (
            (split.names, split.label_names) == (first.names, first.label_names)
            and np.array_equal(split.labels, first.labels)
        ):
            raise ValueError(
                "Runs are compared on the same images and labels. Expected the test "
                f"split of {runs[0].folder}. Received: others in {run.folder}"
            )
    if baseline:
        run_splits.check_labels(first, baseline.label_names)
        baseline.check_not_trained_on(first, runs[0].config)
    inferred = [
        infer_split.infer_runs([run], split, run.config, ViewSettings())
        for run, split in zip(runs, splits, strict=True)
    ]
    regions = [
        results.evaluate_regions(each.outputs, split, each.about, each.others["pooled"])
        for each, split in zip(inferred, splits, strict=True)
    ]
    attention = np.stack([each.outputs["probabilities"] for each in inferred])
    pooled = np.stack([each.others["pooled"]["probabilities"] for each in inferred])
    longer, epochs = None, None
    if baseline:
        both = runs[0].config.training.pooled_epochs + runs[0].config.training.epochs
        epochs = baseline.config.training.pooled_epochs, both
        longer = infer_split.pooled_outputs(baseline, first, baseline.config)
        longer = longer["probabilities"]
    most = (first.labels > 0).sum(0).max()
    return {
        "precisions": [
            _compared(first.labels, attention, pooled, longer, least)
            for least in MIN_POSITIVES
            if most >= least
        ],
        "regions": {name: [each[name] for each in regions] for name in regions[0]},
        "epochs": epochs,
    }


def _compared(labels, attention, pooled, longer, least):
    def precisions(trainings):
        return [
            multi_label.mean_average_precision(labels, scores, min_positives=least)
            for scores in trainings
        ]

    of_baseline = np.zeros(len(pooled), bool)
    if longer is not None:
        # At equal mAP a run's own classifier is the closer comparison.
        of_baseline = np.array(precisions(pooled)) < precisions([longer])
        pooled = np.where(of_baseline[:, None, None], longer, pooled)
    return {
        "min_positives": least,
        "labels": int(((labels > 0).sum(0) >= least).sum()),
        "attention": precisions(attention),
        "pooled": precisions(pooled),
        "of_baseline": of_baseline.tolist(),
        **bootstrap.paired_difference(labels, pooled, attention, least),
    }


def table(compared, names, baseline=None):
    """Formats the result of `compare` as text tables.

    Args:
        compared: The result of `compare`.
        names: The names of the runs.
        baseline: The name of the baseline, if there was one.

    Returns:
        Lines of text, metrics in percent: for each choice of labels the mAP of each run
        and the mean, with the mean difference and its interval, and which pooled
        classifier was compared; then the metrics of regions and their means. For
        several runs also the (sample) standard deviations.
    """
    parts = [
        _table_of_precisions(each, names, baseline) for each in compared["precisions"]
    ]
    parts.append(_table_of_regions(compared["regions"], names))
    if baseline:
        own, both = compared["epochs"]
        parts.append(
            f"{baseline}: step 1 of {own} epochs; both steps of {names[0]} have {both}"
        )
    return "\n\n".join(parts)


def _table_of_precisions(each, names, baseline):
    pairs = list(zip(each["attention"], each["pooled"], strict=True))
    rows = [(f"mAP, {each['labels']} labels", "attention", "pooled", "difference")]
    rows += [
        (name, f"{100 * a:.1f}", f"{100 * p:.1f}", f"{100 * (a - p):+.1f}")
        for name, (a, p) in zip(names, pairs, strict=True)
    ]
    columns = [*zip(*pairs, strict=True), [a - p for a, p in pairs]]
    mean, low, high = (100 * each[key] for key in ("difference", "low", "high"))
    means = [f"{100 * statistics.mean(column):.1f}" for column in columns[:2]]
    rows.append(("mean", *means, f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"))
    if len(pairs) > 1:
        deviations = (f"{100 * statistics.stdev(column):.1f}" for column in columns)
        rows.append(("standard deviation", *deviations))
    width = max(len(row[0]) for row in rows)
    lines = [
        f"{name:{width}}{attention:>12}{pooled:>12}  {difference}"
        for name, attention, pooled, difference in rows
    ]
    if baseline:
        chosen = [baseline if b else "its own step 1" for b in each["of_baseline"]]
        better = (f"{of} for {name}" for name, of in zip(names, chosen, strict=True))
        lines.append(f"pooled, the better of two: {', '.join(better)}")
    return "\n".join(lines)


def _table_of_regions(metrics, names):
    shown = [name for name in results.REGION_METRICS if name in metrics]
    columns = [[100 * value for value in metrics[name]] for name in shown]
    rows = [["regions, percent", *shown]]
    rows += [
        [name, *map(_number, row)]
        for name, row in zip(names, zip(*columns, strict=True), strict=True)
    ]
    several = len(names) > 1
    last = "mean ± standard deviation" if several else "mean"
    rows.append([last, *(_mean(column, several) for column in columns)])
    return "\n".join(text_tables.align(rows))


def _mean(values, several):
    mean = _number(statistics.mean(values))
    if not several or np.isnan(values).any():
        return mean
    return f"{mean} ± {statistics.stdev(values):.1f}"


def _number(value):
    return "\N{EN DASH}" if np.isnan(value) else f"{value:.1f}"
