"""Fuzzes the readers of weights with files that point to what is outside of them.

Their bytes are not spoilt: that would try the HDF5 library, which SECURITY.md trusts.
"""

import numpy as np
from hypothesis import strategies as st

from fuzz import planted_weights
from fuzz.target import Target
from ram_tf.models import backbone_network
from ram_tf.runs import weights_file
from ram_tf.storage import atomic_files

READERS = ("backbone", "run")


def target(folder):
    """Returns the readers' target, on a file in this folder."""
    valid = READERS[0], planted_weights.ENDINGS[0], ()

    def read(example):
        reader, ending, planted = example
        path = folder / f"file{ending}"
        network = planted_weights.make_network()
        written = network.get_weights()
        planted_weights.save(network, path)
        for number, how in planted:
            planted_weights.plant(how, path, number)
        other = planted_weights.make_network()
        if reader == "run" and ending == planted_weights.ENDINGS[0]:
            atomic_files.add_checksum(path)
            weights_file.load(other, path)
        else:
            backbone_network._load(other, "small", path)
        for weight, expected in zip(other.get_weights(), written, strict=True):
            assert not (weight == planted_weights.SECRET).any()
            np.testing.assert_array_equal(weight, expected)

    planted = st.tuples(st.integers(0, 1), st.sampled_from(planted_weights.PLANTED))
    inputs = st.tuples(
        st.sampled_from(READERS),
        st.sampled_from(planted_weights.ENDINGS),
        st.lists(planted, max_size=1),
    )
    return Target(inputs, read, valid)
