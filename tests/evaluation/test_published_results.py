"""Tests the published results against their means and the documentation."""

import re

import numpy as np
import pytest

from ram_tf.data import paper_labels
from ram_tf.data.voc_reader import voc
from ram_tf.evaluation.papers import published_results
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from tests.support.paths import ROOT
from tests.support.scripts import script
from tests.support.small_settings import SMALL
from tests.support.voc_folder import write_split

DOCS = ROOT / "docs" / "references.md"
COCO_LABELS = paper_labels.COCO


def result_of(labels, split, precision=0.5, **metrics):
    """Returns a result of `results.evaluate` with the same value for all metrics."""
    means = dict.fromkeys(published_results.MEANS, precision)
    return {
        **means,
        "AP": dict.fromkeys(labels, precision),
        "split": split,
        "images": 4952 if len(labels) == 20 else 40_130,
        "protocol": {"name": "rdar"},
        **metrics,
    }


def rows_of(text):
    """Returns the printed rows by name: ours, and the cell of each reference."""
    found = {}
    for line in text.splitlines()[2:]:
        name, ours, *cells = re.split(r"  +", line.strip())
        found[name] = ours, cells
    return found


@pytest.mark.parametrize("reference", published_results.VOC_2007.references)
def test_precisions_of_the_labels_have_the_printed_mean(reference):
    precisions = [reference.metrics[f"AP {label}"] for label in voc.LABEL_NAMES]
    assert len(precisions) == 20
    assert round(np.mean(precisions), 1) == reference.metrics["mAP"]


@pytest.mark.parametrize("reference", published_results.COCO.references)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(reference):
    f = reference.metrics
    for kind in "CO":
        precision, recall = f[f"{kind}P"], f[f"{kind}R"]
        expected = 2 * precision * recall / (precision + recall)
        # All three are rounded.
        assert f[f"{kind}F1"] == pytest.approx(expected, abs=0.11)


@pytest.mark.parametrize(
    "benchmark", [published_results.VOC_2007, published_results.COCO]
)
def test_the_documentation_has_the_same_numbers(benchmark):
    documented = {}
    for line in DOCS.read_text().splitlines():
        name, *cells = (cell.strip() for cell in line.strip("| ").split("|"))
        length = 21 if benchmark is published_results.VOC_2007 else 7
        if len(cells) == length and "---" not in name:
            documented[name] = [float(c) for c in cells if re.fullmatch(r"[\d.]+", c)]
    for reference in benchmark.references:
        numbers = [*reference.metrics.values()]
        if benchmark is published_results.COCO and "mAP" in reference.metrics:
            numbers = numbers[1:] + numbers[:1]
        assert documented[reference.name] == numbers


def test_differences_on_voc_2007_by_hand():
    result = result_of(voc.LABEL_NAMES, "test")
    result["AP"] |= {"aeroplane": 0.9912, "tvmonitor": 0.88, "boat": None}
    text = published_results.text("voc2007", {**result, "mAP": 0.92})
    rows = rows_of(text)
    assert [*rows] == [*(f"AP {label}" for label in voc.LABEL_NAMES), "mAP"]
    theirs = ["+0.6 (98.5)", "+1.4 (97.7)", "+0.5 (98.6)", "+0.5 (98.6)"]
    assert rows["AP aeroplane"] == ("99.1", theirs)
    assert rows["AP tvmonitor"][1][0] == "-0.1 (88.1)"
    assert rows["AP boat"] == ("-", ["- (95.7)", "- (95.8)", "- (96.2)", "- (95.5)"])
    assert rows["mAP"][1] == [
        "+0.7 (91.3)",
        "+0.7 (91.3)",
        "+0.1 (91.9)",
        "+0.0 (92.0)",
    ]
    head, names = text.splitlines()[:2]
    assert names.split("  ")[-1].strip() == "RARL"
    assert "VOC 2007 test" in head
    assert "ours: 4952 images, protocol rdar; theirs: 4952 images" in head


@pytest.mark.parametrize("split", ["val", "val2014"])
def test_differences_on_coco_by_hand(split):
    rows = rows_of(
        published_results.text("coco", result_of(COCO_LABELS, split, OF1=0.73))
    )
    assert rows["OF1"] == (
        "73.0",
        ["+1.7 (71.3)", "+1.6 (71.4)", "+1.0 (72.0)", "+1.9 (71.1)"],
    )
    assert rows["mAP"][1] == ["-22.2 (72.2)", "-22.3 (72.3)", "-23.4 (73.4)", "-"]
    assert [*rows] == "mAP CP CR CF1 OP OR OF1".split()


@pytest.mark.parametrize(
    ("dataset", "split", "labels"),
    [
        ("voc2007", "val", voc.LABEL_NAMES),
        ("voc2012", "test", voc.LABEL_NAMES),
        ("voc2007", "test", voc.LABEL_NAMES[:19]),
        ("csv", "test", voc.LABEL_NAMES),
        ("coco", "train", COCO_LABELS),
        ("coco", "val", COCO_LABELS[:79]),
        ("coco", "val", tuple(f"label {i}" for i in range(80))),
        ("voc", "test", voc.LABEL_NAMES),
        ("digits", "test", tuple("0123456789")),
    ],
)
def test_other_datasets_splits_and_labels_are_not_compared(dataset, split, labels):
    assert published_results.text(dataset, result_of(labels, split)) == ""


@pytest.mark.parametrize(
    ("dataset", "split", "labels", "images"),
    [
        ("coco", "val", COCO_LABELS, 64),
        ("coco", "val2017", COCO_LABELS, 4952),
        ("coco", "val", COCO_LABELS, 40_504),
        ("voc2007", "test", voc.LABEL_NAMES, 2),
    ],
)
def test_other_images_than_the_papers_are_not_compared(dataset, split, labels, images):
    result = result_of(labels, split, images=images)
    assert published_results.text(dataset, result) == ""


@pytest.fixture(scope="module")
def voc_run(tmp_path_factory):
    """A run on two images of VOC 2007 with initial weights."""
    folder = tmp_path_factory.mktemp("voc")
    root = folder / "VOCdevkit" / "VOC2007"
    for split in ("trainval", "test"):
        write_split(root, split, {f"{split}1": {"cat": 1}, f"{split}2": {"dog": 1}})
    settings = SMALL.replace(dataset="voc2007", data_dir=str(root))
    run = Run.start(folder / "run", settings, voc.LABEL_NAMES)
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    run_models.build_attention(run, pooled).save_weights(run.model_weights)
    return run


@pytest.mark.parametrize(("split", "compared"), [("test", True), ("trainval", False)])
def test_evaluate_compares_the_test_split_only(
    voc_run, split, compared, capsys, monkeypatch
):
    two_images = published_results.VOC_2007._replace(images=2)
    monkeypatch.setattr(published_results, "VOC_2007", two_images)
    status = script("evaluate")(f"--model_dir={voc_run.folder}", f"--split={split}")
    assert status == 0
    printed = capsys.readouterr().out
    assert ("Differences to the papers on VOC 2007 test" in printed) == compared
    assert bool(re.search(r"^AP cat +\d+\.\d +[+-]", printed, re.M)) == compared
