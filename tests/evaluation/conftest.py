"""Fixtures of two runs and the split that they are evaluated on."""

import pytest

from ram_tf.runs.splits import run_splits
from tests.support.untrained_runs import start_run


@pytest.fixture(scope="module")
def runs(squares, tmp_path_factory):
    """Two runs with a scale each."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        start_run(folder / str(size), squares, seed=size, image_size=size)
        for size in (40, 48)
    ]


@pytest.fixture(scope="module")
def split(runs):
    return run_splits.load_report(runs[0].config, "val", runs[0].label_names)
