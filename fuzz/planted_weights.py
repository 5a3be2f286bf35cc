"""Weights files in which an array is replaced by what HDF5 reads from elsewhere."""

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

ENDINGS = (".weights.h5", ".h5")  # Keras' format, and its older one
SECRET = 7.0  # the value of what is outside of the file


def make_network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def save(network, path):
    """Saves weights in the format of the file's ending."""
    if path.name.endswith(ENDINGS[0]):
        network.save_weights(path)
        return
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def external_link(folder, place, name, shape):
    with h5py.File(folder / "other.h5", "w") as other:
        other["array"] = np.full(shape, SECRET, "float32")
    place[name] = h5py.ExternalLink("other.h5", "array")


def external_storage(folder, place, name, shape):
    values = np.full(shape, SECRET, "float32")
    values.tofile(folder / "other.bin")
    storage = [(str(folder / "other.bin"), 0, values.nbytes)]
    place.create_dataset(name, shape, "float32", external=storage)


def virtual_dataset(folder, place, name, shape):
    with h5py.File(folder / "other.h5", "w") as other:
        other["array"] = np.full(shape, SECRET, "float32")
    layout = h5py.VirtualLayout(shape, "float32")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "array", shape)
    place.create_virtual_dataset(name, layout)


def soft_link(folder, place, name, shape):
    place["/elsewhere"] = np.full(shape, SECRET, "float32")
    place[name] = h5py.SoftLink("/elsewhere")


def four_terabytes(folder, place, name, shape):
    place.create_dataset(name, (1 << 20, 1 << 20), "float32", chunks=(1024, 1024))


PLANTED = external_link, external_storage, virtual_dataset, soft_link, four_terabytes


def plant(how, path, number=0):
    """Replaces one of a file's two arrays.

    Args:
        how: One of `PLANTED`.
        path: The file, of `make_network`.
        number: 0 for the first array of the file, 1 for the second.
    """
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(
            lambda name, item: (
                names.append(name)
                if isinstance(item, h5py.Dataset) and item.shape in ((4, 3), (3,))
                else None
            )
        )
        place, base = file[names[number]].parent, names[number].rpartition("/")[2]
        shape = file[names[number]].shape
        del place[base]
        how(path.parent, place, base, shape)
