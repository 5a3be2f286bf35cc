"""No weights file reads what lies outside of it, or takes more memory than it has.

HDF5 files may link to others, and Keras read them until CVE-2026-1669 and
CVE-2026-0897; these tests hold the installed Keras to refusing them.
"""

import numpy as np
import pytest

from fuzz import planted_weights
from ram_tf.models import backbone_network
from ram_tf.runs import weights_file
from ram_tf.storage import atomic_files


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
@pytest.mark.parametrize("how", planted_weights.PLANTED, ids=lambda how: how.__name__)
def test_a_backbones_file_that_points_elsewhere_is_refused(tmp_path, ending, how):
    path = tmp_path / f"backbone{ending}"
    planted_weights.save(planted_weights.make_network(), path)
    planted_weights.plant(how, path)
    network = planted_weights.make_network()
    before = network.get_weights()
    with pytest.raises(ValueError, match="weights do not fit small") as caught:
        backbone_network._load(network, "small", path)
    assert "Not allowed" in str(caught.value)
    assert "\n" not in str(caught.value)
    for weight, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("how", planted_weights.PLANTED, ids=lambda how: how.__name__)
def test_a_runs_file_that_points_elsewhere_is_refused(tmp_path, how):
    path = tmp_path / "model.weights.h5"
    planted_weights.save(planted_weights.make_network(), path)
    planted_weights.plant(how, path)
    atomic_files.add_checksum(path)
    with pytest.raises(ValueError, match="weights cannot be read") as caught:
        weights_file.load(planted_weights.make_network(), path)
    assert "Not allowed" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_file_that_holds_its_own_weights_is_read(tmp_path, ending):
    path = tmp_path / f"backbone{ending}"
    written, read = planted_weights.make_network(), planted_weights.make_network()
    planted_weights.save(written, path)
    backbone_network._load(read, "small", path)
    np.testing.assert_array_equal(read.get_weights()[0], written.get_weights()[0])
