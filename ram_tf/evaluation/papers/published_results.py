"""The papers' published results on VOC 2007 and MS-COCO, to compare full runs with.

RDAR is Wang et al., ICCV 2017: tables 1 and 2, mAP on COCO from table 6; VGG-16 in ten
views, scored by linear SVMs, at the named scale or else at 512 and 640 together. RARL
is Chen et al., AAAI 2018: the numbers on which the README files of
FT-ZHOU-ZZZ/Multi-label-Image-Classification and of DSDL agree; its mAP on COCO is
unknown.
"""

from typing import NamedTuple

from ram_tf.data import paper_labels
from ram_tf.data.voc_reader import voc
from ram_tf.evaluation import text_tables

MEANS = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")


class Reference(NamedTuple):
    """A row of a paper's table.

    Args:
        name: The system, and the scale if there is only one.
        metrics: In percent, by their names in a result; the AP of a label as "AP dog".
    """

    name: str
    metrics: dict


class Benchmark(NamedTuple):
    """A split that the papers are evaluated on.

    Args:
        title: The name to show.
        images: Number of images.
        references: The `Reference`s on it.
    """

    title: str
    images: int
    references: tuple[Reference, ...]


def _voc(name, numbers):
    """Returns a row of table 1: AP in the order of `voc.LABEL_NAMES`, then mAP."""
    names = [*(f"AP {label}" for label in voc.LABEL_NAMES), "mAP"]
    return Reference(name, _named(names, numbers))


def _coco(name, numbers):
    """Returns a row of table 2: mAP, C-P, C-R, C-F1, O-P, O-R, O-F1; - if unknown."""
    return Reference(name, _named(MEANS, numbers))


def _named(names, numbers):
    values = zip(names, numbers.split(), strict=True)
    return {name: float(value) for name, value in values if value != "-"}


VOC_2007 = Benchmark(
    "VOC 2007 test",
    4952,
    (
        _voc(
            "RDAR 512",
            "98.5 96.7 95.6 95.7 73.7 92.1 95.8 96.8 76.5 92.9 "
            "87.2 96.6 97.5 92.8 98.3 76.9 91.3 83.6 98.6 88.1 91.3",
        ),
        _voc(
            "RDAR 640",
            "97.7 97.3 96.4 95.8 74.6 91.9 96.5 96.7 75.2 89.9 "
            "87.1 96.0 96.9 93.2 98.4 81.3 93.4 81.3 98.3 88.5 91.3",
        ),
        _voc(
            "RDAR",
            "98.6 97.4 96.3 96.2 75.2 92.4 96.5 97.1 76.5 92.0 "
            "87.7 96.8 97.5 93.8 98.5 81.6 93.7 82.8 98.6 89.3 91.9",
        ),
        _voc(
            "RARL",
            "98.6 97.1 97.1 95.5 75.6 92.8 96.8 97.3 78.3 92.2 "
            "87.6 96.9 96.5 93.6 98.5 81.6 93.1 83.2 98.5 89.3 92.0",
        ),
    ),
)
COCO = Benchmark(
    "MS-COCO val",
    40137,
    (
        _coco("RDAR 512", "72.2 77.7 58.1 66.5 83.4 62.3 71.3"),
        _coco("RDAR 640", "72.3 78.0 57.7 66.3 83.8 62.3 71.4"),
        _coco("RDAR", "73.4 79.1 58.7 67.4 84.0 63.0 72.0"),
        _coco("RARL", "- 78.8 57.2 66.2 84.0 61.6 71.1"),
    ),
)


def of(dataset, result):
    """Returns the `Benchmark` of a result, or None.

    None for other datasets, splits, labels or images (a part of them, or COCO of 2017).
    Up to 1 % of the images may be missing, since unreadable ones are skipped.

    Args:
        dataset: The name of the dataset, of `datasets.NAMES`.
        result: The result of `results.evaluate`.
    """
    split, labels = result["split"], set(result["AP"])
    benchmark = _by_name(dataset, split, labels)
    if benchmark and 0.99 <= result["images"] / benchmark.images <= 1:
        return benchmark
    return None


def _by_name(dataset, split, labels):
    if not paper_labels.are_papers(dataset, labels):
        return None
    if (dataset, split) == ("voc2007", "test"):
        return VOC_2007
    return COCO if dataset == "coco" and split.startswith("val") else None


def text(dataset, result):
    """Formats the differences between a result and the papers' as a text table.

    Args:
        dataset: The name of the dataset.
        result: The result of `results.evaluate`.

    Returns:
        Lines of text: for each metric ours in percent, then for each `Reference` the
        difference, ours minus theirs in points, with theirs in brackets. Empty if there
        is no `Benchmark`.
    """
    benchmark = of(dataset, result)
    if benchmark is None:
        return ""
    rows = [("", "ours", *(r.name for r in benchmark.references))]
    for name in benchmark.references[0].metrics:
        ours = _ours(result, name)
        cells = [_difference(ours, r.metrics.get(name)) for r in benchmark.references]
        rows.append((name, "-" if ours is None else f"{ours:.1f}", *cells))
    return "\n".join([_head(benchmark, result), *text_tables.align(rows)])


def _head(benchmark, result):
    counted = result["protocol"]["name"]
    return (
        f"Differences to the papers on {benchmark.title}, in points (theirs in "
        f"brackets); ours: {result['images']} images, protocol {counted}; theirs: "
        f"{benchmark.images} images, protocol rdar"
    )


def _ours(result, name):
    _, _, label = name.partition("AP ")
    value = result["AP"][label] if label else result[name]
    return None if value is None else 100 * value


def _difference(ours, theirs):
    if ours is None or theirs is None:
        return "-" if theirs is None else f"- ({theirs:.1f})"
    return f"{ours - theirs:+.1f} ({theirs:.1f})"
