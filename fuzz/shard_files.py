"""Fuzzes the readers of a folder of shards: `shards.json`, and the index of a shard."""

import io
import json
import os

import numpy as np
from hypothesis import strategies as st

from fuzz.array_files import ODD_ARRAYS
from fuzz.mutations import ODD, dumped, files, one_spoilt, spoilt, spoilt_json
from fuzz.target import Target
from ram_tf.data.shards import shard_folder

SIZE = 100
CONTENT = {
    "format": 1,
    "complete": True,
    "dataset": "csv",
    "data_dir": "/mine",
    "limits": [10, "refuse"],
    "uses": ["train", None, "train"],
    "splits": {
        "train": {
            "label_names": ["cat", "dog"],
            "notes": ["a note"],
            "shards": [{"name": "train-00000", "bytes": SIZE, "images": 2}],
        }
    },
}


def text(value):
    """Returns a JSON value as the index keeps it."""
    return np.frombuffer(dumped(value), np.uint8)


ARRAYS = {
    "key": text("0123"),
    "size": np.array(SIZE),
    "starts": np.array([12, 60]),
    "lengths": np.array([30, 40]),
    "digests": np.zeros((2, 32), np.uint8),
    "greys": np.zeros((2, 16, 18), np.uint8),
    "names": text(["1.jpg", "2.jpg"]),
    "labels": np.array([[1, 0], [-1, 1]], np.int8),
    "unreadable": text([["3.jpg", ["empty", "empty: 0 bytes"]]]),
    "others": np.zeros(2, np.int8),
    "box_names": text(["cat"]),
    "box_rows": np.array([0, 0]),
    "box_labels": np.array([0, 0]),
    "boxes": np.ones((2, 4), np.float32),
}
TEXTS = "key names unreadable box_names".split()


def target(folder):
    """Returns the readers' target, on files in this folder."""

    def read(folder):
        split = shard_folder.load(folder, "train")
        assert np.isin(split.labels, (-1, 0, 1)).all()
        assert len(split.greys) == len(split.names) == len(split)
        for image in split.images:
            assert os.path.dirname(image.path) == str(folder)
            assert 0 <= image.start <= image.start + image.length <= SIZE
        for boxes in split.boxes or ():
            for array in boxes.values():
                assert array.dtype == np.float32
                assert np.isfinite(array).all()

    odd = st.dictionaries(st.sampled_from([*ARRAYS]), ODD_ARRAYS, max_size=2)
    odd_texts = st.dictionaries(st.sampled_from(TEXTS), ODD.map(text), max_size=2)
    gone = st.sets(st.sampled_from([*ARRAYS]), max_size=2)
    indexes = st.one_of(
        st.builds(_npz, odd, gone), st.builds(_npz, odd_texts), spoilt(_npz({}))
    )
    valid = {
        "shards.json": json.dumps(CONTENT).encode(),
        "train-00000.npz": _npz({}),
        "train-00000.tfrecord": bytes(SIZE),
    }
    spoilt_files = {"shards.json": spoilt_json(CONTENT), "train-00000.npz": indexes}
    return Target(one_spoilt(valid, spoilt_files), files(folder, read), valid)


def _npz(changed, gone=()):
    file = io.BytesIO()
    arrays = {**ARRAYS, **changed}
    np.savez(file, **{name: arrays[name] for name in arrays if name not in gone})
    return file.getvalue()
