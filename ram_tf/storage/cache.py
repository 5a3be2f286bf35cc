"""What a model said of a split, kept on disk so that it is not asked twice."""

import hashlib
import json
import os
import pathlib
import sys
import zipfile

import numpy as np

import ram_tf
from ram_tf.storage import atomic_files

KEY_LENGTH = 16


def fingerprint(path):
    """Tells the contents of files apart: `KEY_LENGTH` hexadecimal digits."""
    return atomic_files.fingerprint(path)[:KEY_LENGTH]


def key_of(about, weights, split, config, *arrays):
    """A name for what a model says of a split: another one where anything differs.

    The version of the package is part of it: what an older release has kept may have
    been computed in another way, and is computed again.

    Args:
        about: How it looks at images, ready for JSON, as `MultiView.about`.
        weights: The files of its weights.
        split: The `Split`. Image files are told apart by path, size and time of change.
        config: The `Config`, for what decides about features and images.
        *arrays: NumPy arrays that decide about it, too.

    Returns:
        A string of `KEY_LENGTH` hexadecimal digits.
    """
    digest = hashlib.sha256()
    settings = config.to_json(split.label_names)
    text = [ram_tf.__version__, about, settings, *map(fingerprint, weights)]
    digest.update(json.dumps(text).encode())
    for image in split.images:
        # Digests have one length: no byte passes from an image to the next unseen.
        digest.update(hashlib.sha256(identity(image)).digest())
    if split.proposals is not None:
        digest.update(split.proposals.tobytes())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:KEY_LENGTH]


def identity(image):
    """What tells an image of a `Split` from others: bytes of any length.

    Of a file these are path, size and time of change; an image in memory is itself.
    """
    if isinstance(image, bytes):
        return image
    state = pathlib.Path(image).stat()
    return f"{image} {state.st_size} {state.st_mtime_ns}\n".encode()


def remember(folder, key, compute):
    """Reads the arrays kept under a key, or computes and keeps them.

    The key is kept among them: a file that was put in another's place is not taken.

    Args:
        folder: Of the cache; created where it is missing.
        key: Of `key_of`.
        compute: A function without arguments to a dict of NumPy arrays.

    Returns:
        The dict of arrays.
    """
    path = pathlib.Path(folder) / f"{key}.npz"
    arrays = read(path)
    if arrays is not None and str(arrays.pop("key", "")) != key:
        print(f"computed again, since of another key: {path}", file=sys.stderr)
        arrays = None
    if arrays is None:
        arrays = compute()
        write(path, {"key": np.array(key), **arrays})
    return arrays


def read(path):
    """Reads what `write` wrote.

    Returns:
        The dict of arrays; None where there is no such file, or one that cannot be
        read, which is named on stderr.
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

    Files are taken as `write` makes them, which does not compress: no file takes more
    memory than it has bytes.

    Returns:
        The dict of arrays.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no npz file, or not a whole one.
    """
    try:
        # np.load leaves a file open that it cannot read.
        with open(path, "rb") as file:
            _check_size(file)
            with np.load(file, allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
    except FileNotFoundError:
        raise
    # Of a spoilt file NumPy and zipfile raise whatever its parts happen to lead to.
    except Exception as error:
        raise ValueError(f"no npz file: {error!r}") from error


def _check_size(file):
    members = zipfile.ZipFile(file).infolist()
    held = file.seek(0, os.SEEK_END)
    told = sum(max(member.file_size, member.compress_size) for member in members)
    file.seek(0)
    if told > held:
        raise ValueError(f"{held} bytes that stand for {told}")


def write(path, arrays):
    """Writes a dict of arrays as an npz file, as a whole or not at all.

    A file that cannot be written is named on stderr: what was computed is not lost.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.atomic_write(path) as temporary:
            np.savez(temporary, **arrays)
    except OSError as error:
        print(f"not kept: {path} ({error})", file=sys.stderr)
