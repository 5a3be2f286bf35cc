"""Saves and loads model weights as `*.weights.h5` with a checksum."""

import contextlib
import io

from ram_tf.models import backbone_network
from ram_tf.storage import atomic_files


class _Memory(io.BytesIO):
    """A file in memory, with the ending that Keras requires.

    On a full disk the HDF5 library would lose the error of a write on closing the file,
    and crash the process later.
    """

    def __str__(self):
        return "memory.weights.h5"


def save(model, path):
    """Writes a model's weights without its optimiser, as an atomic write.

    Raises:
        OSError: The file cannot be written.
    """
    memory = _Memory()
    with without_optimizer(model):
        model.save_weights(memory)
    with atomic_files.write_with_checksum(path) as temporary:
        temporary.write_bytes(memory.getbuffer())


def load(model, path):
    """Loads the weights that `save` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has changed, or is of another model.
    """
    content = atomic_files.read(path)
    try:
        with without_optimizer(model):
            model.load_weights(_Memory(content))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            "The weights cannot be read. Expected those of the run's model. "
            f"Received: {path} ({backbone_network.reason(error)})"
        ) from error


@contextlib.contextmanager
def without_optimizer(model):
    """Removes the optimiser of a compiled model for a while, so as not to save it."""
    optimizer, model.optimizer = getattr(model, "optimizer", None), None
    try:
        yield
    finally:
        model.optimizer = optimizer
