"""Reads the arrays of a Keras weights file with h5py."""

import h5py


def arrays(path):
    """Returns all arrays of the file, by their path in it."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found
