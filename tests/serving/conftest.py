import pytest

from ram_tf.serving.predictor import Predictor
from tests.support.batch_inputs import write_model


@pytest.fixture(scope="session")
def version(squares, tmp_path_factory):
    """The version folder of an untrained model, exported as a SavedModel."""
    return write_model(squares, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def local(version):
    """The `Predictor` of this SavedModel."""
    return Predictor.load(version)
