"""The protocols against tables worked by hand, plain loops and scikit-learn."""

import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from ram_tf.metrics import multi_label
from ram_tf.metrics.protocols import (
    PROTOCOLS,
    Protocol,
    as_counted,
    figures,
    warnings_for,
)

FIGURES = ("OP", "OR", "OF1", "CP", "CR", "CF1")
TOP3 = tuple(f"{name}_top3" for name in FIGURES)
every_protocol = pytest.mark.parametrize("name", PROTOCOLS)


def by(name, labels, probabilities):
    return figures(np.array(labels), np.array(probabilities), PROTOCOLS[name])


def column(*values):
    return np.array(values)[:, None]


def table(seed, decimals):
    """Labels of every kind; with one decimal there are ties and exact thresholds.

    The fourth label has no positive, the sixth is never predicted, the fifth is both.
    """
    generator = np.random.default_rng(seed)
    labels = (generator.random((50, 7)) < 0.4).astype("int8")
    labels[generator.random(labels.shape) < 0.15] = -1
    labels[:, [3, 4]] = np.minimum(labels[:, [3, 4]], 0)
    probabilities = 0.3 * (labels > 0) + 0.7 * generator.random(labels.shape)
    probabilities[:, [4, 5]] *= 0.4
    return labels, probabilities.round(decimals)


# Written from the sources' definitions, one label and one image at a time.


def ranking(labels, probabilities):
    """The known labels of one column, best first, equal ones in their order."""
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
    expected = dict(zip(FIGURES, headline, strict=True))
    if name in ("mlgcn", "csra", "srn"):
        expected |= zip(TOP3, NAIVE[name](*lists, 3), strict=True)
    expected["mAP"] = naive_mean_average_precision(name, labels, probabilities)
    result.pop("AP")
    assert result == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_eps_of_srn_and_zero_of_asl_are_zero_division_of_scikit_learn(seed):
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
def test_uninterpolated_protocols_have_the_average_precision_of_scikit_learn(name):
    labels, probabilities = table(0, 8)
    result = by(name, labels, probabilities)["AP"]
    for label in (0, 1, 2, 5, 6):
        known = labels[:, label] >= 0
        expected = average_precision_score(
            labels[known, label], probabilities[known, label]
        )
        assert result[label] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["rdar", "voc07"])
def test_the_paper_counts_as_equation_15_does(name):
    labels, probabilities = table(0, 1)
    expected = multi_label.precision_recall_f1(labels, probabilities, 0.5, top_k=3)
    result = by(name, labels, probabilities)
    assert {key: result[key] for key in FIGURES} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Precisions at the positives of 1 0 0 1 1: 1, 2/4, 3/5.
        ("rdar", (1 + 2 / 4 + 3 / 5) / 3),
        ("mlgcn", (1 + 2 / 4 + 3 / 5) / 3),
        ("csra", (1 + 2 / 4 + 3 / 5) / 3),
        ("asl", (1 + 2 / 4 + 3 / 5) / (3 + 1e-8)),
        # Made monotone: 1, 3/5, 3/5.
        ("srn", (1 + 3 / 5 + 3 / 5) / 3),
        # Recall 1/3 reaches 0, .1, .2, .3: four ones, then seven of 3/5.
        ("voc07", (4 + 7 * 3 / 5) / 11),
    ],
)
def test_average_precision_of_each_source(name, expected):
    labels, probabilities = column(1, 0, 0, 1, 1), column(0.9, 0.8, 0.7, 0.6, 0.5)
    result = by(name, labels, probabilities)
    assert result["AP"] == pytest.approx([expected], rel=1e-12)
    assert result["mAP"] == pytest.approx(expected, rel=1e-12)


@every_protocol
def test_a_label_without_positives_has_average_precision_0_in_the_mean_of_asl(name):
    result = by(name, [[1, 0], [0, 0]], [[0.9, 0.9], [0.1, 0.1]])
    assert np.isnan(result["AP"][1])
    assert result["mAP"] == pytest.approx(1 / 2 if name == "asl" else 1)


@every_protocol
def test_unknown_labels_are_out_of_every_average_precision(name):
    result = by(name, column(-1, 1, 0), column(0.9, 0.8, 0.7))
    assert result["AP"] == pytest.approx([1])


@pytest.mark.parametrize(
    ("name", "probability", "predicted"),
    [
        ("rdar", 0.5, True),
        ("mlgcn", 0.5, True),
        ("csra", 0.5, True),
        ("voc07", 0.5, True),
        ("rdar", 0.4999, False),
        ("srn", 0.5, False),
        ("srn", np.nextafter(0.5, 1), True),
        ("asl", 0.8, False),
        ("asl", np.nextafter(0.8, 1), True),
    ],
)
def test_a_threshold_is_reached_or_exceeded(name, probability, predicted):
    result = by(name, column(1, 0), column(probability, 0.0))
    assert result["OR"] == predicted


@every_protocol
def test_class_f1_is_harmonic_or_the_mean_of_the_labels(name):
    labels = [[1, 1], [0, 1], [0, 1], [0, 1]]
    probabilities = [[0.9, 0.9], [0.9, 0.1], [0.9, 0.1], [0.1, 0.1]]
    # Precisions 1/3 and 1, recalls 1 and 1/4.
    result = by(name, labels, probabilities)
    precision, recall = 2 / 3, 5 / 8
    assert [result["CP"], result["CR"]] == pytest.approx([precision, recall])
    if name in ("srn", "asl"):
        expected = (2 * 1 / 3 / (4 / 3) + 2 * 1 / 4 / (5 / 4)) / 2
    else:
        expected = 2 * precision * recall / (precision + recall)
    assert result["CF1"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "class_precision", "overall_precision"),
    [
        ("rdar", 1 / 2, 1),
        ("voc07", 1 / 2, 1),
        ("asl", 1 / 2, 1),
        ("srn", 1, 1),
        # One right prediction, and one wrong that nobody made.
        ("mlgcn", 1 / 2, 1 / 2),
        ("csra", 1 / 2, 1 / 2),
    ],
)
def test_a_label_never_predicted(name, class_precision, overall_precision):
    result = by(name, [[1, 1], [0, 1]], [[0.9, 0.1], [0.1, 0.2]])
    assert result["CP"] == pytest.approx(class_precision)
    assert result["OP"] == pytest.approx(overall_precision)


@every_protocol
def test_where_nothing_is_predicted_only_srn_is_precise(name):
    result = by(name, [[1, 0]], [[0.1, 0.1]])
    assert result["OP"] == (1 if name == "srn" else 0)
    assert result["OR"] == result["OF1"] == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Precision and recall of the labels: 1 and 1; none present, one predicted;
        # none present, none predicted.
        ("rdar", (1, 1, 1)),
        ("voc07", (1, 1, 1)),
        ("mlgcn", (1, 1, 1)),
        ("csra", (1, 1, 1)),
        ("srn", ((1 + 0 + 1) / 3, (1 + 1 + 1) / 3, (1 + 0 + 1) / 3)),
        ("asl", (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_labels_without_positives(name, expected):
    result = by(name, [[1, 0, 0]], [[0.9, 0.9, 0.1]])
    assert [result[key] for key in ("CP", "CR", "CF1")] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "ending", "precision", "recall"),
    [
        # The first label is unknown. Left out, it is no mistake and takes no place.
        ("rdar", "", 3 / 3, 3 / 3),
        ("voc07", "", 3 / 3, 3 / 3),
        ("asl", "", 3 / 3, 3 / 3),
        # Absent, it is a mistake and takes the place of the last.
        ("srn", "", 3 / 4, 3 / 3),
        ("srn", "_top3", 2 / 3, 2 / 3),
        # The last is never predicted now, which counts as one mistake more.
        ("mlgcn", "", 3 / 4, 3 / 3),
        ("mlgcn", "_top3", 2 / 4, 2 / 3),
        # No mistake itself, but never predicted where it is known; with the last, two.
        ("csra", "", 3 / 4, 3 / 3),
        ("csra", "_top3", 2 / 4, 2 / 3),
    ],
)
def test_an_unknown_label(name, ending, precision, recall):
    result = by(name, [[-1, 1, 1, 1]], [[0.99, 0.98, 0.97, 0.96]])  # falling
    found = result[f"OP{ending}"], result[f"OR{ending}"]
    assert found == pytest.approx((precision, recall))


def test_an_unknown_label_is_no_mistake_to_csra_where_it_is_predicted_elsewhere():
    labels, probabilities = [[-1, 1], [1, 1]], [[0.9, 0.9], [0.9, 0.9]]
    assert by("csra", labels, probabilities)["OP"] == 1
    assert by("mlgcn", labels, probabilities)["OP"] == 3 / 4


@every_protocol
def test_the_headline_is_the_top_3_to_the_paper_and_all_labels_to_its_peers(name):
    result = by(name, [[1, 1, 1, 1]], [[0.9, 0.9, 0.9, 0.9]])
    assert result["OR"] == (3 / 4 if name in ("rdar", "voc07") else 1)


@pytest.mark.parametrize("name", ["mlgcn", "csra", "srn"])
def test_the_top_3_is_cut_by_the_threshold_and_stands_beside_all_labels(name):
    labels = [[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]]
    probabilities = [[0.9, 0.8, 0.7, 0.6, 0.1], [0.1, 0.2, 0.3, 0.6, 0.7]]
    result = by(name, labels, probabilities)
    assert [result["OP"], result["OR"]] == pytest.approx([6 / 6, 6 / 8])
    # The fourth label of the first image goes; the second has two anyway.
    assert [result["OP_top3"], result["OR_top3"]] == pytest.approx([5 / 5, 5 / 8])


@every_protocol
def test_the_figures_of_a_source_are_named(name):
    result = by(name, *table(0, 1))
    second = TOP3 if name in ("mlgcn", "csra", "srn") else ()
    assert set(result) == {"mAP", "AP", *FIGURES, *second}
    assert result.pop("AP").shape == (7,)
    assert {type(value) for value in result.values()} == {float}


@every_protocol
def test_of_nothing_there_are_no_figures(name):
    result = by(name, [[0, -1], [0, 0]], [[0.9, 0.9], [0.1, 0.1]])
    assert np.isnan(result.pop("AP")).all()
    assert all(math.isnan(value) for value in result.values())


@every_protocol
def test_figures_and_warnings_leave_their_arguments_alone(name):
    labels, probabilities = table(0, 1)
    figures(labels, probabilities, PROTOCOLS[name])
    warnings_for(labels, probabilities, list("abcdefg"), PROTOCOLS[name])
    for argument, fresh in zip((labels, probabilities), table(0, 1), strict=True):
        np.testing.assert_array_equal(argument, fresh)


def test_fewer_labels_than_the_top_3_are_no_obstacle():
    assert by("mlgcn", [[1, 0]], [[0.9, 0.6]])["OP_top3"] == 1 / 2


@every_protocol
def test_a_protocol_goes_into_json_under_its_name(name):
    written = json.loads(json.dumps(dataclasses.asdict(PROTOCOLS[name])))
    assert written["name"] == name
    assert Protocol(**written | {"top_k": tuple(written["top_k"])}) == PROTOCOLS[name]


def told(name, labels, probabilities, label_names="abc"):
    names = list(label_names[: np.shape(labels)[1]])
    return warnings_for(labels, probabilities, names, PROTOCOLS[name])


@every_protocol
def test_there_is_nothing_to_tell_of_plain_data(name):
    assert told(name, [[1, 0], [0, 1]], [[0.9, 0.9], [0.1, 0.9]]) == []


def test_a_softmax_is_told():
    labels = [[1, 1], [1, 0]]
    for rounded in (np.float64, np.float16):
        softmax = np.array([[0.7, 0.3], [0.4, 0.6]]).astype(rounded)
        (sentence,) = told("rdar", labels, softmax)
        assert "at most 1 label of an image can pass 0.5" in sentence
    assert told("rdar", labels, [[0.7, 0.6], [0.4, 0.6]]) == []


@pytest.mark.parametrize(
    ("threshold", "said"),
    [(0.8, "at most 1 label of"), (0.3, "at most 3 labels of"), (0.2, None), (0, None)],
)
def test_of_a_softmax_as_many_labels_pass_as_the_threshold_allows(threshold, said):
    softmax = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    protocol = dataclasses.replace(PROTOCOLS["rdar"], name="", threshold=threshold)
    sentences = warnings_for([[1] * 4] * 2, softmax, list("abcd"), protocol)
    found = [sentence for sentence in sentences if "sum to 1" in sentence]
    assert len(found) == bool(said)
    assert all(said in sentence for sentence in found)


def test_a_single_label_is_no_softmax():
    assert told("rdar", [[1], [1]], [[1.0], [1.0]]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdar", "No image has b: left out of mAP, out of CP, CR and CF1."),
        ("srn", "No image has b: left out of mAP, recall 1 in CR and CF1."),
        ("asl", "No image has b: AP 0 in mAP, recall 0 in CR and CF1."),
    ],
)
def test_labels_without_positives_are_told(name, expected):
    assert told(name, [[1, 0, 1]], [[0.9, 0.9, 0.9]]) == [expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdar", "precision 0."),
        ("mlgcn", "precision 0 and one wrong prediction each in OP."),
        ("srn", "precision 1."),
    ],
)
def test_labels_never_predicted_are_told(name, expected):
    sentences = told(name, [[1, 1, 1]], [[0.9, 0.1, 0.2]])
    assert sentences == [f"No image is given b, c: {expected}"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rdar", []),
        ("asl", []),
        ("mlgcn", ["Unknown labels (1) are absent to precision and recall."]),
        ("srn", ["Unknown labels (1) are absent to precision and recall."]),
        ("csra", ["Unknown labels (1) may take places among the top 3 of images."]),
    ],
)
def test_unknown_labels_that_count_are_told(name, expected):
    assert told(name, [[1, -1], [1, 1]], [[0.9, 0.9], [0.9, 0.9]]) == expected


def test_a_label_given_only_where_it_is_unknown_is_predicted_if_that_counts():
    labels, probabilities = [[1, -1], [1, 1]], [[0.9, 0.9], [0.9, 0.1]]
    assert not any("is given b" in s for s in told("mlgcn", labels, probabilities))
    assert any("is given b" in s for s in told("csra", labels, probabilities))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([[1, 0]], [[0.5, 3.2]], r"in \[0, 1\]. Received: 3.2"),
        ([[1, 0]], [[-0.1, 0.2]], r"in \[0, 1\]. Received: -0.1"),
        ([[1, 0]], [[0.5, np.nan]], "Received: 1 NaN of 2 scores"),
        ([[1, 0]], [[0.5]], r"\(1, 2\), scores of shape \(1, 1\)"),
    ],
)
def test_a_wrong_argument_is_named(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        by("rdar", labels, probabilities)


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if not PROTOCOLS[n].phantom])
def test_overall_figures_are_counted_from_what_as_counted_returns(name):
    protocol = PROTOCOLS[name]
    labels, probabilities = table(0, 2)
    counted, predicted = as_counted(labels, probabilities, protocol, protocol.top_k[0])
    right = multi_label.confusion(counted, predicted)["TP"].sum()
    result = figures(labels, probabilities, protocol)
    assert not predicted[counted < 0].any()
    assert result["OP"] == pytest.approx(right / predicted.sum())
    assert result["OR"] == pytest.approx(right / (counted > 0).sum())
