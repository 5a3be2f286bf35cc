"""What a model said of a split, kept on disk so that it is not asked twice."""

import hashlib
import json
import pathlib
import sys
import zipfile

import numpy as np

from ram_tf.run import replacing

KEY_LENGTH = 16


def key_of(view, weights, split, config):
    """A name for the outputs of a view on a split: another one where anything differs.

    Args:
        view: A `MultiView`.
        weights: The files of its members' weights.
        split: The `Split`. Image files are told apart by path, size and time of change.
        config: The `Config`, for what decides about features and images.

    Returns:
        A string of `KEY_LENGTH` hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in weights:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(json.dumps([view.about, config.to_json(split.label_names)]).encode())
    for image in split.images:
        if isinstance(image, bytes):
            digest.update(image)
        else:
            state = pathlib.Path(image).stat()
            digest.update(f"{image} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:KEY_LENGTH]


def remember(folder, key, compute):
    """Reads the arrays kept under a key, or computes and keeps them.

    A file that cannot be read is named on stderr and written anew.

    Args:
        folder: Of the cache; created where it is missing.
        key: Of `key_of`.
        compute: A function without arguments to a dict of NumPy arrays.

    Returns:
        The dict of arrays.
    """
    path = pathlib.Path(folder) / f"{key}.npz"
    if path.exists():
        try:
            # np.load leaves a file open that it cannot read.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
            print(
                f"computed again, since unreadable: {path} ({error})", file=sys.stderr
            )
    arrays = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        np.savez(beside, **arrays)
    return arrays
