"""Fuzzes the tf.data pipelines `find_unreadable` and `evaluation_pipeline`."""

import contextlib
import io

import numpy as np
from hypothesis import strategies as st

from fuzz import pictures
from fuzz.target import Target
from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.data.scan import find_unreadable
from ram_tf.data.split import Split

EDGE = 32
LIMIT = pictures.MAX_PIXELS
BATCH = 20  # images per pipeline, because starting one is slow


def target(folder):
    """Returns the pipelines' target, on images in memory."""

    def read(images):
        split = Split(
            images=tuple(images),
            names=tuple(map(str, range(len(images)))),
            labels=np.zeros((len(images), 1), np.int8),
            label_names=("a",),
        )
        with contextlib.redirect_stderr(io.StringIO()):
            unreadable = find_unreadable(split, LIMIT)
        readable = split.take(np.setdiff1d(np.arange(len(split)), unreadable))
        if len(readable):
            batches = evaluation_pipeline(readable, [EDGE], [EDGE], BATCH, LIMIT)
            ((decoded,),) = batches
            assert decoded.shape == (len(readable), EDGE, EDGE, 3)

    inputs = st.lists(pictures.inputs(), min_size=BATCH, max_size=BATCH)
    return Target(inputs, read, [pictures.JPEG], at_once=BATCH)
