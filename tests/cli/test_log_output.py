"""Tests of what `fit` prints where there is no terminal, as in a log file."""

import io
import re
import sys

import pytest

from ram_tf.data import progress
from tests.support.scripts import SMALL_FLAGS, script


@pytest.fixture(scope="module")
def log(squares, tmp_path_factory):
    """What a short run of both steps with a linear probe prints, as two texts."""
    folder = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        patch.setattr(sys, "stderr", io.StringIO())
        status = script("fit")(
            *(*SMALL_FLAGS, f"--data_dir={squares}", f"--output_dir={folder / 'run'}"),
            *(f"--saved_models={folder / 'saved'}", "--pooled_epochs=2"),
        )
        texts = sys.stdout.getvalue(), sys.stderr.getvalue()
    assert status == 0, texts[1][-2000:]
    return texts


def test_a_log_has_no_control_characters(log):
    assert not [text for text in log if progress.CONTROL.search(text)]


def test_a_log_has_one_line_an_epoch_with_its_metrics(log):
    found = re.findall(r"^(\w+: epoch .*)$", log[0], re.M)
    expected = ["step1: epoch 1 of 2", "step1: epoch 2 of 2", "step2: epoch 1 of 1"]
    assert [line.partition(",")[0] for line in found] == expected
    for line in found:
        assert re.search(r", \d+ s, ", line)
        for name in ("loss", "val_loss", "val_mAP", "learning_rate"):
            assert re.search(rf", {name} \d\S*(,|$)", line), (name, line)
    assert "Epoch" not in log[0]
