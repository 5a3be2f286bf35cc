"""Tests that weights are loaded as saved, or refused."""

import keras
import numpy as np
import pytest

from ram_tf.runs import weights_file
from tests.support.full_disk import full_above


def network(units=30):
    return keras.Sequential([keras.Input((20,)), keras.layers.Dense(units)])


def test_weights_are_saved_and_loaded_without_the_optimizer(tmp_path):
    saved, loaded = network(), network()
    saved.compile("adam")
    saved.optimizer.build(saved.trainable_variables)
    optimizer = saved.optimizer
    weights_file.save(saved, tmp_path / "a.weights.h5")
    assert saved.optimizer is optimizer
    weights_file.load(loaded, tmp_path / "a.weights.h5")
    for one, other in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Keras reads the file, too.
    loaded.load_weights(tmp_path / "a.weights.h5")
    assert b"optimizer" not in (tmp_path / "a.weights.h5").read_bytes()


def test_a_flipped_bit_of_a_weight_is_detected(tmp_path):
    path = tmp_path / "a.weights.h5"
    model = network()
    weights_file.save(model, path)
    content = bytearray(path.read_bytes())
    place = content.index(model.get_weights()[0].tobytes())
    content[place + 9] ^= 4
    path.write_bytes(content)
    network().load_weights(path)  # Keras does not detect it
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"changed since.*a\.weights\.h5"):
        weights_file.load(model, path)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("other", [5, None])
def test_weights_of_another_model_are_refused(tmp_path, other):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"no weights")
    if other:
        network(other).save_weights(path)
    with pytest.raises(ValueError, match=r"weights cannot be read.*a\.weights\.h5"):
        weights_file.load(network(), path)


@pytest.mark.parametrize("room", [100, 2000, 10_000])
def test_a_full_disk_leaves_the_old_weights_and_names_the_file(tmp_path, room):
    path = tmp_path / "a.weights.h5"
    old = network()
    weights_file.save(old, path)
    assert path.stat().st_size > 10_000
    with full_above(room), pytest.raises(OSError, match="cannot be written") as refused:
        weights_file.save(network(), path)
    assert str(path) in str(refused.value)
    again = network()
    weights_file.load(again, path)
    np.testing.assert_array_equal(again.get_weights()[0], old.get_weights()[0])
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "checksums"}
