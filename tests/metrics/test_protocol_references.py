"""Tests every protocol against plain loops and scikit-learn on random tables.

The loops are written from the sources' definitions, one label and image at a time.
"""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from ram_tf.metrics import multi_label
from ram_tf.metrics.protocols import (
    PROTOCOLS,
    as_counted,
    compute_metrics,
    warnings_for,
)

METRICS = ("OP", "OR", "OF1", "CP", "CR", "CF1")
TOP3 = tuple(f"{name}_top3" for name in METRICS)
every_protocol = pytest.mark.parametrize("name", PROTOCOLS)


def by(name, labels, probabilities):
    return compute_metrics(np.array(labels), np.array(probabilities), PROTOCOLS[name])


def table(seed, decimals):
    """Labels of every kind; one decimal gives ties and probabilities at thresholds.

    The fourth label has no positive, the sixth is never predicted, the fifth is both.
    """
    generator = np.random.default_rng(seed)
    labels = (generator.random((50, 7)) < 0.4).astype("int8")
    labels[generator.random(labels.shape) < 0.15] = -1
    labels[:, [3, 4]] = np.minimum(labels[:, [3, 4]], 0)
    probabilities = 0.3 * (labels > 0) + 0.7 * generator.random(labels.shape)
    probabilities[:, [4, 5]] *= 0.4
    return labels, probabilities.round(decimals)


def ranking(labels, probabilities):
    """The known labels of one column by descending probability, ties in order."""
    pairs = zip(labels, probabilities, strict=True)
    pairs = sorted(pairs, key=lambda pair: -pair[1])
    return [label for label, _ in pairs if label >= 0]


def precisions_and_recalls(labels):
    found, pairs = 0, []
    for rank, label in enumerate(labels, 1):
        found += label
        pairs.append((found / rank, found))
    return pairs, found


def naive_none(labels):
    pairs, positives = precisions_and_recalls(labels)
    hits = [p for (p, _), label in zip(pairs, labels, strict=True) if label]
    return sum(hits) / positives


def naive_voc2010(labels):
    pairs, positives = precisions_and_recalls(labels)
    steps = range(1, positives + 1)
    return sum(max(p for p, r in pairs if r >= step) for step in steps) / positives


def naive_voc2007(labels):
    pairs, positives = precisions_and_recalls(labels)
    tenths = range(11)
    return sum(max(p for p, r in pairs if 10 * r >= t * positives) for t in tenths) / 11


def naive_mean_average_precision(name, labels, probabilities):
    result = []
    for truth, column in zip(labels.T.tolist(), probabilities.T.tolist(), strict=True):
        ranked = ranking(truth, column)
        if 1 not in ranked:
            result += [0.0] if name == "asl" else []
        elif name == "srn":
            result.append(naive_voc2010(ranked))
        elif name == "voc07":
            result.append(naive_voc2007(ranked))
        elif name == "asl":
            positives = ranked.count(1)
            result.append(naive_none(ranked) * positives / (positives + 1e-8))
        else:
            result.append(naive_none(ranked))
    return sum(result) / len(result)


def best(row, places, k):
    return sorted(places, key=lambda place: -row[place])[:k]


def harmonic(precision, recall):
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def mean(values):
    return sum(values) / len(values)


def naive_rdar(labels, probabilities, k):
    pairs = []  # (label, correct) of every prediction
    for truth, row in zip(labels, probabilities, strict=True):
        known = [place for place in range(len(row)) if truth[place] != -1]
        pairs += [(c, truth[c] == 1) for c in best(row, known, k) if row[c] >= 0.5]
    truths = list(zip(*labels, strict=True))
    classes = [c for c, truth in enumerate(truths) if 1 in truth]
    precisions, recalls = [], []
    for c in classes:
        outcomes = [correct for label, correct in pairs if label == c]
        precisions.append(mean(outcomes) if outcomes else 0)
        recalls.append(sum(outcomes) / truths[c].count(1))
    outcomes = [correct for _, correct in pairs]
    overall = mean(outcomes), sum(outcomes) / sum(t.count(1) for t in truths)
    by_class = mean(precisions), mean(recalls)
    return *overall, harmonic(*overall), *by_class, harmonic(*by_class)


def naive_mlgcn(labels, probabilities, k, keep_unknown=True):
    count = len(labels[0])
    correct, predicted, present = [0] * count, [0] * count, [0] * count
    for truth, row in zip(labels, probabilities, strict=True):
        given = [c for c in best(row, range(count), k) if row[c] >= 0.5]
        for c in range(count):
            if truth[c] == -1 and not keep_unknown:
                continue
            correct[c] += c in given and truth[c] == 1
            predicted[c] += c in given
            present[c] += truth[c] == 1
    predicted = [number or 1 for number in predicted]
    classes = [c for c in range(count) if present[c]]
    overall = sum(correct) / sum(predicted), sum(correct) / sum(present)
    by_class = (
        mean([correct[c] / predicted[c] for c in classes]),
        mean([correct[c] / present[c] for c in classes]),
    )
    return *overall, harmonic(*overall), *by_class, harmonic(*by_class)


def naive_csra(labels, probabilities, k):
    return naive_mlgcn(labels, probabilities, k, keep_unknown=False)


def naive_srn(labels, probabilities, k):
    eps = 2**-52
    count = len(labels[0])
    kept = [best(row, range(count), k) for row in probabilities]

    def score(classes):
        correct, predicted, present = eps, eps, eps
        for truth, row, top in zip(labels, probabilities, kept, strict=True):
            for c in classes:
                given = c in top and row[c] > 0.5
                correct += given and truth[c] == 1
                predicted += given
                present += truth[c] == 1
        precision, recall = correct / predicted, correct / present + eps
        return precision, recall, 2 * precision * recall / (precision + recall)

    alone = [score([c]) for c in range(count)]
    return *score(range(count)), *(mean(values) for values in zip(*alone, strict=True))


def naive_asl(labels, probabilities, k):
    assert k is None
    count = len(labels[0])
    tp, fp, fn = [0] * count, [0] * count, [0] * count
    for truth, row in zip(labels, probabilities, strict=True):
        for c in range(count):
            if truth[c] != -1:
                tp[c] += row[c] > 0.8 and truth[c] == 1
                fp[c] += row[c] > 0.8 and truth[c] == 0
                fn[c] += row[c] <= 0.8 and truth[c] == 1
    p = [tp[c] / (tp[c] + fp[c]) if tp[c] else 0 for c in range(count)]
    r = [tp[c] / (tp[c] + fn[c]) if tp[c] else 0 for c in range(count)]
    f = [2 * p[c] * r[c] / (p[c] + r[c]) if tp[c] else 0 for c in range(count)]
    overall = sum(tp) / (sum(tp) + sum(fp)), sum(tp) / (sum(tp) + sum(fn))
    return *overall, harmonic(*overall), mean(p), mean(r), mean(f)


NAIVE = {
    "rdar": naive_rdar,
    "mlgcn": naive_mlgcn,
    "csra": naive_csra,
    "srn": naive_srn,
    "asl": naive_asl,
    "voc07": naive_rdar,
}


@every_protocol
@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("seed", range(5))
def test_every_protocol_equals_plain_loops(name, seed, decimals):
    labels, probabilities = table(seed, decimals)
    result = by(name, labels, probabilities)
    lists = labels.tolist(), probabilities.tolist()
    headline = NAIVE[name](*lists, {"rdar": 3, "voc07": 3}.get(name))
    expected = dict(zip(METRICS, headline, strict=True))
    if name in ("mlgcn", "csra", "srn"):
        expected |= zip(TOP3, NAIVE[name](*lists, 3), strict=True)
    expected["mAP"] = naive_mean_average_precision(name, labels, probabilities)
    result.pop("AP")
    assert result == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_class_metrics_of_srn_and_asl_equal_scikit_learn_with_zero_division(seed):
    labels, probabilities = table(seed, 1)
    labels = np.maximum(labels, 0)
    for name, threshold, zero in (("srn", 0.5, 1), ("asl", 0.8, 0)):
        expected = precision_recall_fscore_support(
            labels, probabilities > threshold, average="macro", zero_division=zero
        )
        result = by(name, labels, probabilities)
        assert [result[key] for key in ("CP", "CR", "CF1")] == pytest.approx(
            expected[:3]
        )


@pytest.mark.parametrize("name", ["rdar", "mlgcn", "csra", "asl"])
def test_uninterpolated_average_precision_equals_scikit_learn(name):
    labels, probabilities = table(0, 8)
    result = by(name, labels, probabilities)["AP"]
    for label in (0, 1, 2, 5, 6):
        known = labels[:, label] >= 0
        expected = average_precision_score(
            labels[known, label], probabilities[known, label]
        )
        assert result[label] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["rdar", "voc07"])
def test_protocols_of_the_paper_equal_equation_15(name):
    labels, probabilities = table(0, 1)
    expected = multi_label.precision_recall_f1(labels, probabilities, 0.5, top_k=3)
    result = by(name, labels, probabilities)
    assert {key: result[key] for key in METRICS} == pytest.approx(expected)


@every_protocol
def test_every_protocol_has_the_metrics_of_its_source(name):
    result = by(name, *table(0, 1))
    second = TOP3 if name in ("mlgcn", "csra", "srn") else ()
    assert set(result) == {"mAP", "AP", *METRICS, *second}
    assert result.pop("AP").shape == (7,)
    assert {type(value) for value in result.values()} == {float}


@every_protocol
def test_metrics_and_warnings_do_not_change_their_arguments(name):
    labels, probabilities = table(0, 1)
    compute_metrics(labels, probabilities, PROTOCOLS[name])
    warnings_for(labels, probabilities, list("abcdefg"), PROTOCOLS[name])
    for argument, fresh in zip((labels, probabilities), table(0, 1), strict=True):
        np.testing.assert_array_equal(argument, fresh)


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if not PROTOCOLS[n].phantom])
def test_overall_metrics_follow_from_the_result_of_as_counted(name):
    protocol = PROTOCOLS[name]
    labels, probabilities = table(0, 2)
    counted, predicted = as_counted(labels, probabilities, protocol, protocol.top_k[0])
    right = multi_label.confusion(counted, predicted)["TP"].sum()
    result = compute_metrics(labels, probabilities, protocol)
    assert not predicted[counted < 0].any()
    assert result["OP"] == pytest.approx(right / predicted.sum())
    assert result["OR"] == pytest.approx(right / (counted > 0).sum())
