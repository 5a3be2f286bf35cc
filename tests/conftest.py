import keras
import pytest
from tensorflow.python.framework.config import disable_op_determinism

from tests.support.squares import write_squares

# Scripts that made files with other packages, or with earlier versions of this one.
collect_ignore = ["files"]


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def free_of_determinism():
    """Takes back what training turns on for the whole process: XLA fails under it."""
    yield
    disable_op_determinism()


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """A csv folder of 40 training and 16 validation images with coloured squares."""
    return write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="session")
def vgg16_with_top(tmp_path_factory):
    """VGG-16 as it would start, and a file of its weights with its top."""
    network = keras.applications.VGG16(weights=None)
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    network.save_weights(path)
    yield network, str(path)
    path.unlink()  # half a gigabyte
