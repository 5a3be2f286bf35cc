"""Fuzzes readers of npz files: cached outputs, SVMs, object proposals."""

import contextlib
import io
import json
import zipfile

import numpy as np
from hypothesis import strategies as st

from fuzz.mutations import DEEP, ODD, dumped, files, spoilt
from fuzz.target import Target
from ram_tf.evaluation.svm import OneVsRestSVM
from ram_tf.runs.splits import proposals
from ram_tf.storage import cache

ABOUT = {"scales": [40], "views": 1, "views_from": "image", "describe": "pooled"}
ARRAYS = {
    "weights": np.ones((3, 4), np.float32),
    "bias": np.zeros(3, np.float32),
    "platt": np.ones((3, 2), np.float32),
    "costs": np.ones(3, np.float32),
    "about": np.array(json.dumps(ABOUT)),
    "fitted_to": np.array("0123"),
    "keys": np.array(["a", "b"]),
    "boxes": np.ones((2, 5, 4), np.float32),
}
SVM = ("weights", "bias", "platt", "costs", "about", "fitted_to")
ODD_ARRAYS = st.sampled_from(
    (
        *(np.zeros(()), np.zeros(0), np.zeros((3, 0)), np.ones((2, 3), np.int64)),
        *(np.full((3, 4), np.nan, np.float32), np.ones((3, 4), np.complex64)),
        *(np.array(["a", "b", "c"]), np.array([b"x"]), np.zeros(2, "datetime64[s]")),
        *(np.zeros(2, [("a", "f4")]), np.array([{}], object), np.zeros((1,) * 32)),
    )
) | ODD.map(lambda value: np.array(dumped(value).decode()))
SHAPES = ("(3, 4)", "(10**12,)", "(1000000000000,)", "(-1,)", "3", "(True,)", "()")
HEADS = ("<f4", "|O", "<U9", "V9", "x", "<f999999999", "[('a', '<f4')]", "M8[s]")


def target(folder):
    """Returns the readers' target, on a file in this folder."""

    def read(folder):
        path = folder / "a.npz"
        with contextlib.redirect_stderr(io.StringIO()):
            arrays = cache.read(path)
            assert arrays is None or isinstance(arrays, dict)
            read_boxes = proposals._read(path, 5)
        assert all(boxes.shape == (5, 4) for boxes in read_boxes.values())
        fitted = OneVsRestSVM.load(path)
        assert fitted.weights.ndim == 2
        assert np.isfinite(fitted.platt).all()

    odd_arrays = st.dictionaries(st.sampled_from([*ARRAYS]), ODD_ARRAYS, max_size=2)
    changed = odd_arrays.map(lambda new: _npz({**_only(SVM), **new}))
    dropped = st.sets(st.sampled_from(SVM), max_size=2).map(
        lambda gone: _npz(_only(set(SVM) - gone))
    )
    headed = st.builds(
        _with_header, st.sampled_from(HEADS), st.sampled_from(SHAPES), st.booleans()
    )
    whole = _npz(ARRAYS)
    spoilt_file = spoilt(whole, _npz(_only(SVM)), _npz(ARRAYS, np.savez_compressed))
    deep = st.just(_raw("((" * 4000))
    inputs = st.one_of(changed, dropped, headed, spoilt_file, spoilt_file, deep)
    valid = {"a.npz": _npz(_only(SVM))}
    return Target(
        inputs.map(lambda content: {"a.npz": content}), files(folder, read), valid
    )


def _only(names):
    return {name: ARRAYS[name] for name in sorted(names)}


def _npz(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _with_header(kind, shape, deflated):
    quoted = kind if kind.startswith("[") else repr(kind)
    header = f"{{'descr': {quoted}, 'fortran_order': False, 'shape': {shape}}}"
    return _raw(header, deflated, b"\0" * (1 << 22 if deflated else 48))


def _raw(header, deflated=False, content=b""):
    """Writes an npz file with an array that has the given header."""
    head = header.encode() + b"\n"
    array = b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head + content
    file = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", how) as members:
        members.writestr("weights.npy", array)
        members.writestr("about.npy", DEEP)
    return file.getvalue()
