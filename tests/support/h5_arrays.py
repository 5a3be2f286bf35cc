"""What a Keras weights file holds, read by h5py."""

import h5py


def arrays(path):
    """All arrays of the file, by their place in it."""
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
