"""A model's weights as a sealed file that Keras reads, `*.weights.h5`."""

import contextlib
import io

from ram_tf.storage import atomic_files


class _Memory(io.BytesIO):
    """A file in memory, with the ending that Keras insists on.

    The HDF5 library cannot be trusted with a full disk: it loses the error of a write
    when it closes the file, and brings the process down later. In memory it has room.
    """

    def __str__(self):
        return "memory.weights.h5"


def save(model, path):
    """Writes a model's weights, without its optimiser, as a whole or not at all.

    Raises:
        OSError: They cannot be written; names the file.
    """
    memory = _Memory()
    with without_optimizer(model):
        model.save_weights(memory)
    with atomic_files.write_with_checksum(path) as temporary:
        temporary.write_bytes(memory.getbuffer())


def load(model, path):
    """Reads what `save` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not as it was written, or of another model.
    """
    content = atomic_files.read(path)
    try:
        with without_optimizer(model):
            model.load_weights(_Memory(content))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            "The weights cannot be read. Expected those of the run's model. "
            f"Received: {path} ({error})"
        ) from error


@contextlib.contextmanager
def without_optimizer(model):
    """Takes the optimiser off a compiled model, whose weights file would hold it."""
    optimizer, model.optimizer = getattr(model, "optimizer", None), None
    try:
        yield
    finally:
        model.optimizer = optimizer
