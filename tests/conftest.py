import keras
import pytest
from squares import write_squares
from tensorflow.python.framework.config import disable_op_determinism


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
