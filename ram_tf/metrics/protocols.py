"""Evaluation protocols: how each paper computes mAP, precision, recall and F1.

Different papers report different numbers for the same predictions. A `Protocol`
describes the rules of one source, and `compute_metrics` applies them:

- `rdar`: the paper, sections 5.1 and 5.2.2. A label is predicted if it is among the top
  3 of its image and its probability is at least 0.5. CF1 is the harmonic mean of CP and
  CR (Eq. 15). The probabilities of table 2 cannot come from a softmax, of which at most
  one passes 0.5: OR / OP = 63.0 / 84.0 means 0.75 predictions for each of an image's
  about three labels. The paper does not mention interpolation, unknown labels and
  labels never predicted; ours: none, left out, precision 0.
- `mlgcn`: `util.py` and `demo_voc2007_gcn.py` of megvii-research/ML-GCN. Two sets of
  metrics: every label of at least 0.5 (a logit of at least 0), and the top 3 of these.
  A label never predicted counts as one wrong prediction, also in OP. Unknown labels
  (VOC's difficult) are left out of AP, but count as absent in precision and recall.
- `csra`: `utils/evaluation/cal_mAP.py` and `cal_PR.py` of Kevinz-code/CSRA. As `mlgcn`,
  but unknown labels are also left out of precision and recall. They can still be among
  the top 3 (`json_metric_top3`).
- `srn`: `evaluate.m` and `tools/` of zhufengx/SRN_multilabel. AP is the area under the
  monotone curve (`AP_VOC.m`). The probability must exceed 0.5. CF1 is the mean of the
  labels' F1. An `eps` in numerator and denominator turns 0 / 0 into 1
  (`precision_recall_f1.m`): the precision of a label never predicted, and the recall of
  a label without positives. Unknown labels (WIDER's unspecified) are left out of AP
  (`get_mAP_eccv16.m`), but count as absent in precision and recall. The top 3 are
  described only in its issues 1 and 5.
- `asl`: `validate.py` and `src/helper_functions/helper_functions.py` of
  Alibaba-MIIL/ASL. The probability must exceed 0.8. CF1 is the mean of the labels' F1.
  0 / 0 is 0. AP is divided by the number of positives + 1e-8, so that a label without
  positives has AP 0 and counts in all means. There is no top 3 and no rule for unknown
  labels; ours: left out.
- `voc07`: `VOCcode/VOCevalcls.m` of the VOC 2007 development kit. AP is the mean of the
  precisions at 11 recalls (ours in integers, since 3 * 0.1 > 0.3 in floats). Unknown
  labels are left out. It has no other metrics; ours: those of `rdar`.

A protocol covers neither the choice of images nor training. `srn` uses all images of
COCO (82,783 and 40,504); ours leaves out those without labels, as the paper does. VOC's
difficult objects are positive in the training of `mlgcn` and negative in that of
`csra`: set `--difficult` of the run. WIDER, where `csra` takes unknown labels as
absent, is not supported.

Ours, in all protocols: equal probabilities keep their order, as in MATLAB's sort (torch
and NumPy do not guarantee it). The harmonic mean of 0 and 0 is 0. A label without
positives is left out of AP, CP, CR and CF1 where the source has 0 / 0 in one of them
(`mlgcn`, `csra`), or of AP alone (`srn`).
"""

import dataclasses
import math

import numpy as np

from ram_tf.metrics import multi_label


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Rules by which a source computes its metrics; the defaults are those of `rdar`.

    `dataclasses.asdict` makes it ready for JSON. Every protocol leaves unknown labels
    out of AP.

    Args:
        name: Key in `PROTOCOLS`.
        source: Paper or files that define it.
        interpolation: Interpolation of AP, see `multi_label.average_precision`.
        ap_epsilon: Added to the number of positives that AP is divided by. If not 0, a
            label without positives has AP 0 in the mean, otherwise it is left out.
        threshold: Threshold of the probability of a predicted label.
        at_least: Whether a probability equal to the threshold is enough.
        top_k: Most labels predicted per image, None for no limit. There is one set of
            metrics for each entry; the first is the main one.
        class_f1: `"harmonic"` mean of CP and CR, or `"mean"` of the labels' F1.
        never_predicted: Precision where nothing is predicted.
        phantom: Whether a label that is never predicted counts as one wrong prediction
            in OP.
        no_positives: Recall of a label without positives; None leaves it out of CP, CR
            and CF1.
        unknown: How unknown labels count in precision and recall: `"left out"`;
            `"takes a place"`, left out, but they can be among the top k; or `"absent"`.
    """

    name: str
    source: str
    interpolation: str = "none"
    ap_epsilon: float = 0.0
    threshold: float = 0.5
    at_least: bool = True
    top_k: tuple = (3,)
    class_f1: str = "harmonic"
    never_predicted: float = 0.0
    phantom: bool = False
    no_positives: float | None = None
    unknown: str = "left out"


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("rdar", "Wang et al., ICCV 2017, section 5.2.2 and Eq. 15"),
        Protocol(
            "mlgcn",
            "megvii-research/ML-GCN: util.py",
            top_k=(None, 3),
            phantom=True,
            unknown="absent",
        ),
        Protocol(
            "csra",
            "Kevinz-code/CSRA: utils/evaluation/cal_mAP.py, cal_PR.py",
            top_k=(None, 3),
            phantom=True,
            unknown="takes a place",
        ),
        Protocol(
            "srn",
            "zhufengx/SRN_multilabel: evaluate.m, tools/AP_VOC.m, "
            "tools/precision_recall_f1.m; top 3: issues 1 and 5",
            interpolation="voc2010",
            at_least=False,
            top_k=(None, 3),
            class_f1="mean",
            never_predicted=1.0,
            no_positives=1.0,
            unknown="absent",
        ),
        Protocol(
            "asl",
            "Alibaba-MIIL/ASL: validate.py, src/helper_functions/helper_functions.py",
            ap_epsilon=1e-8,
            threshold=0.8,
            at_least=False,
            top_k=(None,),
            class_f1="mean",
            no_positives=0.0,
        ),
        Protocol(
            "voc07",
            "VOC 2007 development kit: VOCcode/VOCevalcls.m; all but AP as rdar",
            interpolation="voc2007",
        ),
    )
}
PAPER = PROTOCOLS["rdar"]


def compute_metrics(labels, probabilities, protocol):
    """Computes the metrics as the protocol's source does.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        protocol: A `Protocol`, such as `PROTOCOLS["mlgcn"]`.

    Returns:
        A dict of the floats `mAP OP OR OF1 CP CR CF1` in [0, 1], NaN without any
        positive; of `AP`, `(L,)`, NaN for a label without positives; and, if the source
        also evaluates the top 3 only, of `OP_top3` to `CF1_top3`.

    Example:
        >>> labels = np.array([[1, 0], [0, 1]])
        >>> probabilities = np.array([[0.9, 0.5], [0.2, 0.6]])
        >>> compute_metrics(labels, probabilities, PROTOCOLS["mlgcn"])["OF1"]
        0.8
        >>> compute_metrics(labels, probabilities, PROTOCOLS["srn"])["OF1"]
        1.0
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    precisions = multi_label.average_precision(
        labels, probabilities, protocol.interpolation
    )
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        raise ValueError(
            "Probabilities are out of range. Expected numbers in [0, 1]. "
            f"Received: {probabilities[outside][0]}"
        )
    positives = (labels > 0).sum(0)
    precisions /= 1 + protocol.ap_epsilon / np.maximum(1, positives)
    counted = positives.size if protocol.ap_epsilon else (positives > 0).sum()
    mean = np.nansum(precisions) / counted if positives.any() else np.nan
    result = {"mAP": float(mean), "AP": precisions}
    for top_k in protocol.top_k:
        ending = "" if top_k == protocol.top_k[0] else f"_top{top_k}"
        values = _precision_recall_f1(labels, probabilities, protocol, top_k)
        result |= {f"{name}{ending}": value for name, value in values.items()}
    return result


def as_counted(labels, probabilities, protocol, top_k):
    """Returns the labels and predictions that a protocol counts.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        protocol: A `Protocol`.
        top_k: One of `protocol.top_k`.

    Returns:
        `(labels, predicted)`, both `(n, L)`: the labels, -1 where they are left out,
        and whether each is predicted, False where it is left out.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    if protocol.unknown == "absent":
        labels = np.maximum(labels, 0)
    return labels, _predicted(labels, probabilities, protocol, top_k)


def warnings_for(labels, probabilities, label_names, protocol):
    """Returns warnings for readers of `compute_metrics` of the same arguments.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        label_names: The `L` names.
        protocol: A `Protocol`.

    Returns:
        A list of sentences, possibly empty, on probabilities that sum to 1, labels
        without positives, labels never predicted and unknown labels that count.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    names = np.asarray(label_names)
    predicted = _predicted(labels, probabilities, protocol, protocol.top_k[0])
    positives, unknown = (labels > 0).sum(0), int((labels < 0).sum())
    sentences = []
    # The tolerance allows for bfloat16, which rounds by up to 0.2 %.
    sum_to_1 = names.size > 1 and np.allclose(probabilities.sum(1), 1, atol=5e-3)
    most = names.size
    if protocol.threshold > 0:
        most = max(1, math.ceil(1 / protocol.threshold) - 1)
    if sum_to_1 and most < names.size:
        sentences.append(
            "The probabilities of each image sum to 1, as those of a softmax: at most "
            f"{most} label{'s' if most > 1 else ''} of an image can pass "
            f"{protocol.threshold:g}, so recall is low even with a good ranking."
        )
    if not positives.all():
        in_mean = "AP 0 in mAP" if protocol.ap_epsilon else "left out of mAP"
        in_recall = (
            "left out of CP, CR and CF1"
            if protocol.no_positives is None
            else f"recall {protocol.no_positives:g} in CR and CF1"
        )
        absent = ", ".join(names[positives == 0])
        sentences.append(f"Labels without positives ({in_mean}, {in_recall}): {absent}")
    never = ~predicted.any(0)
    if never.any():
        in_overall = ", one wrong prediction each in OP" if protocol.phantom else ""
        sentences.append(
            f"Labels never predicted (precision {protocol.never_predicted:g}"
            f"{in_overall}): {', '.join(names[never])}"
        )
    if unknown and protocol.unknown == "absent":
        sentences.append(
            f"Unknown labels ({unknown}) count as absent in precision and recall."
        )
    if unknown and protocol.unknown == "takes a place":
        sentences.append(
            f"Unknown labels ({unknown}) may be among the top 3 of their images."
        )
    return sentences


def _precision_recall_f1(labels, probabilities, protocol, top_k):
    labels, predicted = as_counted(labels, probabilities, protocol, top_k)
    if protocol.phantom:
        # Add one image without labels, for which every label never predicted is.
        predicted = np.vstack([predicted, ~predicted.any(0)])
        labels = np.vstack([labels, np.zeros(labels.shape[1])])
    result = multi_label.precision_recall_f1(labels, predicted, threshold=1)
    positives = (labels > 0).sum(0)
    if not positives.any():
        return result
    if not predicted.any():
        result["OP"] = protocol.never_predicted
    correct = (predicted & (labels > 0)).sum(0)
    precision = _ratio(correct, predicted.sum(0), protocol.never_predicted)
    recall = _ratio(correct, positives, protocol.no_positives)
    counted = ~np.isnan(recall)
    precision, recall = precision[counted], recall[counted]
    if protocol.class_f1 == "harmonic":
        class_f1 = _f1(precision.mean(), recall.mean())
    else:
        class_f1 = _f1(precision, recall).mean()
    return result | {
        "CP": float(precision.mean()),
        "CR": float(recall.mean()),
        "CF1": float(class_f1),
    }


def _predicted(labels, probabilities, protocol, top_k):
    """Returns which of the labels that count are predicted: `(n, L)` bool."""
    if protocol.at_least:
        predicted = probabilities >= protocol.threshold
    else:
        predicted = probabilities > protocol.threshold
    if top_k is not None:
        if protocol.unknown == "left out":
            probabilities = np.where(labels < 0, -np.inf, probabilities)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        np.put_along_axis(predicted, order[:, top_k:], False, axis=1)
    return predicted & ((labels >= 0) | (protocol.unknown == "absent"))


def _f1(precision, recall):
    return _ratio(2 * precision * recall, precision + recall, 0.0)


def _ratio(part, whole, default):
    """Divides `part / whole`; `default` (None: NaN) where the whole is 0."""
    result = np.full(np.shape(whole), np.nan if default is None else default)
    return np.divide(part, whole, out=result, where=whole > 0)
