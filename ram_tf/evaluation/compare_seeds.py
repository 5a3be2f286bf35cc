"""Several trainings with the same settings: what they have in common, and what not."""

import statistics

import numpy as np

from ram_tf.evaluation import infer_split, results
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.metrics import bootstrap, multi_label
from ram_tf.runs import run_splits

LEAST = (10, 1)  # positives of the labels that count


def compare(runs, baseline=None):
    """Compares the attention models of runs with their pooled classifiers.

    Args:
        runs: Trained `Run`s that differ in their seed.
        baseline: A `Run` of which step 1 is trained, for as many epochs as both steps
            of the others: of its pooled classifier and a run's own the one of higher
            mAP counts. None for each run's own.

    Returns:
        A dict of `precisions`, a list, one for each of `LEAST` that a label has, of
        dicts: `min_positives`; `labels`, how many there are; `attention` and `pooled`,
        the mAP of each run; `of_baseline`, whether that pooled classifier is the
        baseline's, for each run; and the items of `bootstrap.paired_difference` over
        all runs. Of `regions`, by figure of `results.region_figures` the values of each
        run; `pointing_evidence` is that of a run's own step 1, whatever the baseline.
        And of `epochs`, the numbers of the baseline's step 1 and of both steps of the
        first run; None without a baseline.

    Raises:
        ValueError: Their labels or the images that they report on are not the same, or
            the baseline has seen these images.
    """
    splits = [run_splits.load_report(run.config, None, run.label_names) for run in runs]
    first = splits[0]
    for run, split in zip(runs, splits, strict=True):
        if not (
            (split.names, split.label_names) == (first.names, first.label_names)
            and np.array_equal(split.labels, first.labels)
        ):
            raise ValueError(
                "Runs are compared on the same images and labels. Expected those that "
                f"{runs[0].folder} reports on. Received: others in {run.folder}"
            )
    if baseline:
        run_splits.check_labels(first, baseline.label_names)
        baseline.check_not_trained_on(first, runs[0].config)
    seen = [
        infer_split.infer_runs([run], split, run.config, ViewSettings())
        for run, split in zip(runs, splits, strict=True)
    ]
    regions = [
        results.region_figures(each.outputs, split, each.about, each.others["pooled"])
        for each, split in zip(seen, splits, strict=True)
    ]
    attention = np.stack([each.outputs["probabilities"] for each in seen])
    pooled = np.stack([each.others["pooled"]["probabilities"] for each in seen])
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
            for least in LEAST
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
        # Of equal ones a run's own: what is compared with it then is its own step 2.
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
    """Writes what `compare` found as the text that a person reads.

    Args:
        compared: Of `compare`.
        names: Of the runs, as rows.
        baseline: What the baseline is called, where there was one.

    Returns:
        Lines of text, figures in percent: for each choice of labels mAP, its mean, the
        mean difference with its interval, and which pooled classifier counted; then
        what regions are judged by, and its mean. Of several runs also the standard
        deviation (of a sample) of each.
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
        told = (f"{of} for {name}" for name, of in zip(names, chosen, strict=True))
        lines.append(f"pooled, the better of two: {', '.join(told)}")
    return "\n".join(lines)


def _table_of_regions(figures, names):
    shown = [name for name in results.OF_REGIONS if name in figures]
    columns = [[100 * value for value in figures[name]] for name in shown]
    rows = [["regions, percent", *shown]]
    rows += [
        [name, *map(_figure, row)]
        for name, row in zip(names, zip(*columns, strict=True), strict=True)
    ]
    several = len(names) > 1
    last = "mean ± standard deviation" if several else "mean"
    rows.append([last, *(_mean(column, several) for column in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        aligned = zip(cells, widths[1:], strict=True)
        line = [name.ljust(widths[0])] + [c.rjust(width) for c, width in aligned]
        lines.append("  ".join(line))
    return "\n".join(lines)


def _mean(values, several):
    mean = _figure(statistics.mean(values))
    if not several or np.isnan(values).any():
        return mean
    return f"{mean} ± {statistics.stdev(values):.1f}"


def _figure(value):
    return "\N{EN DASH}" if np.isnan(value) else f"{value:.1f}"
