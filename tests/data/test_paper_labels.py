"""Tests which labels are those of the paper's datasets."""

import pytest

from ram_tf.data import paper_labels
from ram_tf.data.readers import coco
from ram_tf.data.voc_reader import voc
from tests.support.paths import SHARED


def test_the_papers_labels_are_those_of_the_dataset_in_any_order():
    assert len(set(paper_labels.COCO)) == 80
    assert paper_labels.are_papers("coco", sorted(paper_labels.COCO))
    assert paper_labels.are_papers("voc2007", voc.LABEL_NAMES)
    assert not paper_labels.are_papers("voc2007", voc.LABEL_NAMES[1:])
    assert not paper_labels.are_papers("voc2007", (*voc.LABEL_NAMES, "helmet"))
    assert not paper_labels.are_papers("coco", voc.LABEL_NAMES)
    assert not paper_labels.are_papers("csv", voc.LABEL_NAMES)
    assert not paper_labels.are_papers("digits", voc.LABEL_NAMES)


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real photographs in ../shared")
def test_the_labels_of_real_files_of_coco_are_the_papers():
    folder = SHARED / "data" / "coco_people"
    assert coco.label_names(folder) == paper_labels.COCO
