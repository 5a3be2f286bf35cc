"""Caches the outputs of models for a split on disk."""

import hashlib
import json
import os
import pathlib
import sys
import zipfile

import numpy as np

import ram_tf
from ram_tf.storage import atomic_files
from ram_tf.storage.file_ranges import FileRange

KEY_LENGTH = 16


def fingerprint(path):
    """Returns a hash of a file's content: `KEY_LENGTH` hexadecimal digits."""
    return atomic_files.fingerprint(path)[:KEY_LENGTH]


def key_of(inference, weights, split, config, *arrays):
    """Returns the cache key of a model's outputs for a split.

    The package's version is part of the key, as outputs may differ between releases.

    Args:
        inference: How images are processed, as `MultiView.about`; JSON-serialisable.
        weights: The paths of the model's weight files.
        split: The `Split`. Files are compared by path, size and modification time.
        config: The `Config`, whose settings decide about features and images.
        *arrays: Other NumPy arrays that the outputs depend on.

    Returns:
        A string of `KEY_LENGTH` hexadecimal digits.
    """
    digest = hashlib.sha256()
    settings = config.to_json(split.label_names)
    text = [ram_tf.__version__, inference, settings, *map(fingerprint, weights)]
    digest.update(json.dumps(text).encode())
    for image in split.images:
        # Digests of one length keep the boundaries between images.
        digest.update(hashlib.sha256(identity(image)).digest())
    if split.proposals is not None:
        digest.update(split.proposals.tobytes())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:KEY_LENGTH]


def identity(image):
    """Returns bytes, of any length, that identify an image of a `Split`.

    For a file these are path, size and modification time, for bytes the bytes, and for
    a part of a shard the digest of its bytes.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, FileRange):
        return image.digest
    state = pathlib.Path(image).stat()
    return f"{image} {state.st_size} {state.st_mtime_ns}\n".encode()


def read_or_compute(folder, key, compute):
    """Reads the arrays cached under a key, or computes and caches them.

    The file contains its key, so that a renamed file is not used.

    Args:
        folder: The cache's folder; created if it is missing.
        key: The result of `key_of`.
        compute: A function without arguments that returns a dict of NumPy arrays.

    Returns:
        The dict of arrays.
    """
    path = pathlib.Path(folder) / f"{key}.npz"
    arrays = read(path)
    if arrays is not None and str(arrays.pop("key", "")) != key:
        print(f"computed again, since it has another key: {path}", file=sys.stderr)
        arrays = None
    if arrays is None:
        arrays = compute()
        write(path, {"key": np.array(key), **arrays})
    return arrays


def read(path):
    """Reads a file that `write` wrote.

    Returns:
        The dict of arrays; None if there is no such file, or if it cannot be read,
        which is reported on stderr.
    """
    try:
        return load(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        print(f"computed again, since unreadable: {path} ({error})", file=sys.stderr)
        return None


def load(path):
    """Reads the arrays of an npz file, without pickle.

    Compressed files are refused, as `write` makes none: no file takes more memory than
    it has bytes.

    Returns:
        The dict of arrays.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a complete, uncompressed npz file.
    """
    try:
        # np.load does not close a file that it cannot read.
        with open(path, "rb") as file:
            _check_size(file)
            with np.load(file, allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
    except FileNotFoundError:
        raise
    # For a corrupt file NumPy and zipfile raise exceptions of many types.
    except Exception as error:
        raise ValueError(f"no npz file: {error!r}") from error


def _check_size(file):
    members = zipfile.ZipFile(file).infolist()
    size = file.seek(0, os.SEEK_END)
    claimed = sum(max(member.file_size, member.compress_size) for member in members)
    file.seek(0)
    if claimed > size:
        raise ValueError(f"arrays that claim {claimed} bytes in a file of {size}")


def write(path, arrays):
    """Writes a dict of arrays as an npz file, atomically.

    A file that cannot be written is reported on stderr; nothing is raised.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.atomic_write(path) as temporary:
            np.savez(temporary, **arrays)
    except OSError as error:
        print(f"not kept: {path} ({error})", file=sys.stderr)
