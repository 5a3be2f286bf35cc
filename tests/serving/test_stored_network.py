"""Weights of a SavedModel: each once in the file, and in 16 bits if asked for."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.runs import run_models
from ram_tf.serving.formats.export import export
from ram_tf.storage import short_floats
from tests.support.untrained_runs import start_run


@pytest.fixture(scope="module")
def model_and_versions(squares, tmp_path_factory):
    """A model with kernels of 16 bits and of 32, exported both ways."""
    folder = tmp_path_factory.mktemp("weights")
    run = start_run(folder / "run", squares, seed=0, region_pooling="flatten")
    model = run_models.load_attention(run)
    view = run_models.served_view(run, model)
    exported = {
        bits: export(view, run, folder / str(bits), weight_bits=bits)
        for bits in (32, 16)
    }
    return model, exported


@pytest.fixture
def model(model_and_versions):
    return model_and_versions[0]


@pytest.fixture
def versions(model_and_versions):
    return model_and_versions[1]


def stored(version):
    """The arrays in a checkpoint, name to array."""
    reader = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    ending = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {
        name.removesuffix(ending): reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith(ending)
    }


def probabilities(version, encoded):
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    return serve(image_bytes=tf.constant(encoded))["probabilities"].numpy()


@pytest.fixture
def encoded(squares):
    return [(squares / f"val{i}.png").read_bytes() for i in range(2)]


def test_each_weight_is_stored_once_in_the_order_of_the_model(model, versions):
    arrays = stored(versions[32])
    expected = {f"variables/{i}" for i in range(len(model.variables))}
    assert set(arrays) - {"save_counter"} == expected
    for number, variable in enumerate(model.variables):
        np.testing.assert_array_equal(arrays[f"variables/{number}"], variable.numpy())


def test_large_weights_are_stored_in_16_bits_and_the_others_as_they_are(
    model, versions
):
    arrays, short = stored(versions[16]), 0
    for number, variable in enumerate(model.variables):
        found, expected = arrays[f"variables/{number}"], variable.numpy()
        if found.dtype == np.int16:
            short += 1
            assert found.size >= short_floats.SMALLEST_SIZE
            found = short_floats.lengthen(found, arrays[f"scales/{number}"])
            np.testing.assert_allclose(found, expected, atol=np.ptp(expected) / 2**15)
        else:
            np.testing.assert_array_equal(found, expected)
    assert 0 < short < len(model.variables)


def test_probabilities_of_16_bits_are_within_a_thousandth(versions, encoded):
    found = [probabilities(versions[bits], encoded) for bits in (32, 16)]
    assert np.abs(found[0] - found[1]).max() < 1e-3
    assert (found[0] != found[1]).any()


def test_a_session_as_servers_have_runs_16_bits(versions, encoded, tmp_path):
    client = tmp_path / "client.py"
    client.write_text(
        "import sys\n"
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "_, version, output, *images = sys.argv\n"
        "with tf.compat.v1.Session(graph=tf.Graph()) as session:\n"
        "    load = tf.compat.v1.saved_model.loader.load\n"
        "    signature = load(session, ['serve'], version).signature_def"
        "['serving_default']\n"
        "    given = signature.inputs['image_bytes'].name\n"
        "    wanted = signature.outputs['probabilities'].name\n"
        "    images = [open(path, 'rb').read() for path in images]\n"
        "    np.save(output, session.run(wanted, {given: images}))\n"
    )
    paths = []
    for number, content in enumerate(encoded):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(content)
    output = tmp_path / "found.npy"
    done = subprocess.run(
        [sys.executable, client, versions[16], output, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = probabilities(versions[16], encoded)
    np.testing.assert_allclose(np.load(output), expected, atol=1e-6)
