"""What papers mean by mAP, CF1 and OF1: evaluation protocols by name.

The same predictions earn different figures in different papers. A `Protocol` says how
one source counts, and `figures` counts so. What differs, from the sources' own files:

- `rdar`: the paper, sections 5.1 and 5.2.2. A label is predicted if it is among the top
  3 of its image and its probability is at least 0.5; CF1 is the harmonic mean of CP and
  CR (Eq. 15). Of a softmax's probabilities at most one passes 0.5, so those of table 2
  are no softmax's: its OR / OP = 63.0 / 84.0 means 0.75 predictions for each of an
  image's three or so labels. Of interpolation, unknown labels and labels never
  predicted the paper says nothing; ours: none, left out, precision 0.
- `mlgcn`: `util.py` and `demo_voc2007_gcn.py` of megvii-research/ML-GCN. Two sets of
  figures: every label of at least 0.5 (a logit of at least 0), and the top 3 of these.
  A label never predicted counts as predicted once and wrongly, in OP as well. Unknown
  labels (VOC's difficult) are out of AP, but absent to precision and recall.
- `csra`: `utils/evaluation/cal_mAP.py` and `cal_PR.py` of Kevinz-code/CSRA. As `mlgcn`,
  but unknown labels are out of precision and recall too; they still take a place among
  the top 3 (`json_metric_top3`).
- `srn`: `evaluate.m` and `tools/` of zhufengx/SRN_multilabel. AP is the area under the
  monotone curve (`AP_VOC.m`); the probability must exceed 0.5; CF1 is the mean of the
  labels' F1. An `eps` above and below makes 0 / 0 one (`precision_recall_f1.m`): the
  precision of a label never predicted, the recall of a label without positives. Unknown
  labels (WIDER's unspecified) are out of AP (`get_mAP_eccv16.m`), but absent to
  precision and recall. How it takes the top 3 is told in its issues 1 and 5 only.
- `asl`: `validate.py` and `src/helper_functions/helper_functions.py` of
  Alibaba-MIIL/ASL. The probability must exceed 0.8; CF1 is the mean of the labels' F1;
  0 / 0 is zero. AP is divided by the number of positives + 1e-8, which gives a label
  without positives AP 0; it counts, in all means. There is no top 3, and of unknown
  labels it knows nothing; ours: left out.
- `voc07`: `VOCcode/VOCevalcls.m` of the VOC 2007 development kit. AP is the mean of the
  precisions at 11 recalls (ours in whole numbers, as 3 * 0.1 > 0.3 in floats); unknown
  labels are left out. It has no other figures; ours: those of `rdar`.

What a protocol does not decide are the images and what was learnt from them. `srn` has
all images of COCO (82,783 and 40,504), ours leaves out those without labels, as the
paper does. In training VOC's difficult objects are positive to `mlgcn` and negative to
`csra`: `--difficult` of the run. WIDER, of which `csra` takes unknown labels for absent
ones, is no data set here.

The same in all, and ours: equal probabilities keep their order, as MATLAB's sort has it
but torch's and NumPy's do not promise; the harmonic mean of 0 and 0 is 0; a label
without positives is left out of AP, CP, CR and CF1 where the source has 0 / 0 in one of
them (`mlgcn`, `csra`), or of AP alone (`srn`).
"""

import dataclasses
import math

import numpy as np

from ram_tf.metrics import multi_label


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a source computes its figures; the defaults are those of `rdar`.

    `dataclasses.asdict` makes it ready for JSON. Unknown labels are left out of AP by
    every protocol.

    Args:
        name: Its key in `PROTOCOLS`.
        source: Where it was read.
        interpolation: Of AP, see `multi_label.average_precision`.
        ap_epsilon: Added to the number of positives that AP is divided by. If it is not
            0, a label without positives has AP 0 in the mean, else it is left out.
        threshold: What the probability of a predicted label reaches.
        at_least: Whether a probability equal to the threshold is enough.
        top_k: How many labels an image is given at most, None for any number; one set
            of figures each. The first is the headline.
        class_f1: `"harmonic"`, of CP and CR, or `"mean"`, of the labels' own F1.
        never_predicted: Precision where nothing is predicted.
        phantom: Whether a label that is never predicted counts as one wrong prediction
            in OP.
        no_positives: Recall of a label without positives; None leaves it out of CP, CR
            and CF1.
        unknown: What an unknown label is to precision and recall: `"left out"`;
            `"takes a place"`, left out but for its place among the top k; `"absent"`.
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


def figures(labels, probabilities, protocol):
    """The figures of a table as the protocol's source would have computed them.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        protocol: A `Protocol`, such as `PROTOCOLS["mlgcn"]`.

    Returns:
        A dict of the floats `mAP OP OR OF1 CP CR CF1` in [0, 1], NaN where nothing is
        present; of `AP`, `(L,)`, NaN where a label has no positive; and, where the
        source counts a second time with the top 3 only, of `OP_top3` to `CF1_top3`.

    Example:
        >>> labels = np.array([[1, 0], [0, 1]])
        >>> probabilities = np.array([[0.9, 0.5], [0.2, 0.6]])
        >>> figures(labels, probabilities, PROTOCOLS["mlgcn"])["OF1"]  # 0.5 passes
        0.8
        >>> figures(labels, probabilities, PROTOCOLS["srn"])["OF1"]
        1.0
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    precisions = multi_label.average_precision(
        labels, probabilities, protocol.interpolation
    )
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        raise ValueError(
            "A threshold means nothing to scores. Expected probabilities in [0, 1]. "
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
    """What a protocol counts precision and recall from.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        protocol: A `Protocol`.
        top_k: One of `protocol.top_k`; the first is that of the headline.

    Returns:
        `(labels, predicted)`, both `(n, L)`: the labels with -1 for what is left out
        only, and whether each is predicted, which nothing left out is.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    if protocol.unknown == "absent":
        labels = np.maximum(labels, 0)
    return labels, _predicted(labels, probabilities, protocol, top_k)


def warnings_for(labels, probabilities, label_names, protocol):
    """What a reader of `figures` of the same arguments should be told.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        probabilities: `(n, L)` in [0, 1].
        label_names: The `L` names.
        protocol: A `Protocol`.

    Returns:
        A list of sentences, empty where there is nothing to tell: of probabilities that
        sum to 1, of labels without positives, of labels never predicted and of unknown
        labels that count.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    names = np.asarray(label_names)
    predicted = _predicted(labels, probabilities, protocol, protocol.top_k[0])
    positives, unknown = (labels > 0).sum(0), int((labels < 0).sum())
    sentences = []
    # As loose as bfloat16, which rounds each of them by up to 0.2 %.
    sum_to_1 = names.size > 1 and np.allclose(probabilities.sum(1), 1, atol=5e-3)
    most = names.size
    if protocol.threshold > 0:
        most = max(1, math.ceil(1 / protocol.threshold) - 1)
    if sum_to_1 and most < names.size:
        sentences.append(
            "The probabilities of each image sum to 1, as a softmax's do: at most "
            f"{most} label{'s' * (most > 1)} of an image can pass "
            f"{protocol.threshold:g}, so recall is low however good the ranking is."
        )
    if not positives.all():
        in_mean = "AP 0 in mAP" if protocol.ap_epsilon else "left out of mAP"
        in_recall = (
            "out of CP, CR and CF1"
            if protocol.no_positives is None
            else f"recall {protocol.no_positives:g} in CR and CF1"
        )
        absent = ", ".join(names[positives == 0])
        sentences.append(f"No image has {absent}: {in_mean}, {in_recall}.")
    never = ~predicted.any(0)
    if never.any():
        in_overall = " and one wrong prediction each in OP" if protocol.phantom else ""
        sentences.append(
            f"No image is given {', '.join(names[never])}: "
            f"precision {protocol.never_predicted:g}{in_overall}."
        )
    if unknown and protocol.unknown == "absent":
        sentences.append(
            f"Unknown labels ({unknown}) are absent to precision and recall."
        )
    if unknown and protocol.unknown == "takes a place":
        sentences.append(
            f"Unknown labels ({unknown}) may take places among the top 3 of images."
        )
    return sentences


def _precision_recall_f1(labels, probabilities, protocol, top_k):
    labels, predicted = as_counted(labels, probabilities, protocol, top_k)
    if protocol.phantom:
        # As if one more image were given, wrongly, every label that no image is given.
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
    """Which of the labels that count each image is given: `(n, L)` bool."""
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


def _ratio(part, whole, nothing):
    """`part / whole`; `nothing` (None: NaN) where the whole is 0."""
    result = np.full(np.shape(whole), np.nan if nothing is None else nothing)
    return np.divide(part, whole, out=result, where=whole > 0)
