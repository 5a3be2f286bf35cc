"""The answer to an image of a batch: its record, or why it has none."""

import contextlib
from typing import NamedTuple

from ram_tf.data.images.image_faults import Fault, find_fault
from ram_tf.serving.predict_files import to_record
from ram_tf.storage import remote_files as files


class Image(NamedTuple):
    """An image of a batch.

    Args:
        path: Its path, as in the list.
        encoded: The bytes of the file; empty if it cannot be read.
        failure: Its `Fault`; None if the file can be read.
    """

    path: str
    encoded: bytes
    failure: Fault | None = None

    @classmethod
    def read(cls, path):
        """Reads an image; errors become its `failure`."""
        try:
            return cls(path, files.read(path))
        except Exception as error:  # each storage has errors of its own
            detail = f"{type(error).__name__}: {error}"
            return cls(path, b"", Fault(_reason_unread(path), detail))


def _reason_unread(path):
    with contextlib.suppress(Exception):
        if not files.exists(path):
            return "missing"
    return "reading error"


def answer(images, predictor, threshold=None):
    """Predicts a few images at once.

    Args:
        images: A list of `Image`s.
        predictor: A `Predictor`.
        threshold: See `ram_tf.serving.predict_files.predict`.

    Yields:
        A dict per image, in order: its record, see `to_record`; or, of one that cannot
        be read, `image`, `reason` and `detail`.
    """
    outputs = predictor([image.encoded for image in images])
    threshold = predictor.thresholds if threshold is None else threshold
    data = predictor.config.data
    for i, image in enumerate(images):
        row = {name: values[i] for name, values in outputs.items()}
        if row["valid"]:
            yield to_record(image.path, row, predictor.label_names, threshold)
            continue
        fault = image.failure or find_fault(
            image.encoded, data.max_pixels, data.truncated
        )
        yield {"image": image.path, **fault._asdict()}
