"""A folder of images, and its shards."""

import shutil

import pytest

from tests.support.sharded import write_mixed, write_shards


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    """The settings to read the shards of `source`, which no test changes."""
    return write_shards(source, tmp_path_factory.mktemp("shards") / "new")


@pytest.fixture
def copied(written, tmp_path):
    """A copy of the shards that a test may break, and the settings to read it."""
    folder = shutil.copytree(written.data.data_dir, tmp_path / "copied")
    return folder, written.replace(data_dir=str(folder))
