"""Several trainings with the same settings: what they have in common, and what not."""

import statistics

import numpy as np

from ram_tf import bootstrap, evaluation, metrics, run_splits
from ram_tf.joint_view import Views

LEAST = (10, 1)  # positives of the labels that count


def compare(runs):
    """Compares the attention models of runs with their pooled classifiers.

    Args:
        runs: Trained `Run`s that differ in their seed.

    Returns:
        A list, one for each of `LEAST` that a label has, of dicts: `min_positives`;
        `labels`, how many there are; `attention` and `pooled`, the mAP of each run; and
        the items of `bootstrap.paired_difference` over all runs.

    Raises:
        ValueError: Their labels or the images that they report on are not the same.
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
    seen = [
        evaluation.see_runs([run], split, run.config, Views())
        for run, split in zip(runs, splits, strict=True)
    ]
    attention = np.stack([each.outputs["probabilities"] for each in seen])
    pooled = np.stack([each.others["pooled"]["probabilities"] for each in seen])
    most = (first.labels > 0).sum(0).max()
    return [
        _compared(first.labels, attention, pooled, least)
        for least in LEAST
        if most >= least
    ]


def _compared(labels, attention, pooled, least):
    def precisions(trainings):
        return [
            metrics.mean_average_precision(labels, scores, min_positives=least)
            for scores in trainings
        ]

    return {
        "min_positives": least,
        "labels": int(((labels > 0).sum(0) >= least).sum()),
        "attention": precisions(attention),
        "pooled": precisions(pooled),
        **bootstrap.paired_difference(labels, pooled, attention, least),
    }


def table(compared, names):
    """Writes what `compare` found as the text that a person reads.

    Args:
        compared: Of `compare`.
        names: Of the runs, as rows.

    Returns:
        Lines of text, figures in percent.
    """
    lines = []
    for each in compared:
        pairs = list(zip(each["attention"], each["pooled"], strict=True))
        rows = [(f"mAP, {each['labels']} labels", "attention", "pooled", "difference")]
        rows += [
            (name, f"{100 * a:.1f}", f"{100 * p:.1f}", f"{100 * (a - p):+.1f}")
            for name, (a, p) in zip(names, pairs, strict=True)
        ]
        means = [100 * statistics.mean(column) for column in zip(*pairs, strict=True)]
        mean, low, high = (100 * each[key] for key in ("difference", "low", "high"))
        last = f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append(("mean", *(f"{each:.1f}" for each in means), last))
        width = max(len(row[0]) for row in rows)
        lines += [
            f"{name:{width}}{attention:>12}{pooled:>12}  {difference}"
            for name, attention, pooled, difference in rows
        ]
        lines.append("")
    return "\n".join(lines[:-1])
