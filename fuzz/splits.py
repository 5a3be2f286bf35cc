"""Checks that a `Split` is usable, whatever was read."""

import os

import numpy as np


def check(split, folder):
    """Asserts that training can use a split that was read from a folder."""
    assert len(split) > 0
    assert np.isin(split.labels, (-1, 0, 1)).all()
    assert len(set(split.label_names)) == len(split.label_names)
    for name in split.label_names:
        assert isinstance(name, str)
        assert len(name.splitlines()) == 1, name
        assert name.strip(), name
        name.encode()
    root = os.path.normpath(folder)
    for image in split.images:
        # Resolves "..", whether or not the file exists.
        assert os.path.normpath(image).startswith(root + os.sep), image
        assert "\0" not in image, image
        image.encode()
    for boxes in split.boxes or ():
        for array in boxes.values():
            assert array.dtype == np.float32
            assert array.shape[1:] == (4,)
            assert np.isfinite(array).all()
