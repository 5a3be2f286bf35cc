"""Prediction for image files: labels, scores and annotated pictures."""

import collections
import concurrent.futures
import functools
import itertools
import pathlib

from ram_tf.data.drawing import draw_regions, predicted_labels
from ram_tf.data.images import conversion, image_faults
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.image_faults import Fault
from ram_tf.data.split import file_names
from ram_tf.serving.clients.connection import predict_in_parts
from ram_tf.serving.clients.responses import TooLargeError
from ram_tf.storage.atomic_files import atomic_write


def predict(predictor, paths, output_dir=None, threshold=None, batch_size=8, at_once=1):
    """Yields the prediction of each image, and draws it.

    Files in the formats of `conversion.ENDINGS` are converted to PNG before.

    Args:
        predictor: A `Predictor`.
        paths: Image files. One that cannot be read costs no other.
        output_dir: Folder for annotated PNGs, named after the images; None for no
            pictures.
        threshold: Smallest probability of a predicted label; None for the model's own
            thresholds, one per label.
        batch_size: Images in a batch, and in a request to a server.
        at_once: Parallel requests to a server.

    Yields:
        A dict per image, in order: `image`, the path; `valid`, false for an unreadable
        image; `error`, only if that is false: why; `labels`, the predicted ones, the
        most probable first; `boxes`, label to `[ymin, xmin, ymax, xmax]` in
        fractions of the image; `scores` and `probabilities`, label to number, of all
        labels; and `picture`, the path of the PNG.
    """
    if batch_size < 1 or at_once < 1:
        raise ValueError(
            "The size or the number of requests is too small. Expected --batch_size "
            f"and --at_once of 1 or more. Received: {batch_size} and {at_once}"
        )
    paths = [pathlib.Path(path) for path in paths]
    threshold = predictor.thresholds if threshold is None else threshold
    pictures = _picture_names(paths, pathlib.Path(output_dir)) if output_dir else None
    starts = range(0, len(paths), batch_size)
    data = predictor.config.data
    batches = (
        [_read(path, data.max_pixels) for path in paths[s : s + batch_size]]
        for s in starts
    )
    predict_batch = functools.partial(_predict_readable, predictor)
    for first, (encoded, rows) in zip(
        starts, _in_order(predict_batch, batches, at_once), strict=True
    ):
        for i, outputs in enumerate(rows):
            path = paths[first + i]
            if not isinstance(outputs, Exception | Fault) and not outputs["valid"]:
                outputs = image_faults.find_fault(
                    encoded[i], data.max_pixels, data.truncated
                )
            record = to_record(str(path), outputs, predictor.label_names, threshold)
            if output_dir and record["valid"]:
                picture = pictures[first + i]
                _draw(encoded[i], outputs, predictor, threshold, picture)
                record["picture"] = str(picture)
            yield record


def _read(path, max_pixels):
    """Returns the bytes of a JPEG or PNG, or the `Fault` of the file."""
    encoded = image_faults.read_image(path)
    if encoded == b"":
        return image_faults.find_fault(encoded, max_pixels)
    if isinstance(encoded, Fault):
        return encoded
    return conversion.readable(encoded, max_pixels)


def _predict_readable(predictor, images):
    """Returns the outputs of each image, and each `Fault` among the images as it is."""
    rows = list(images)
    readable = [i for i, image in enumerate(images) if not isinstance(image, Fault)]
    if readable:
        outputs = predict_in_parts(predictor, [images[i] for i in readable])
        for i, row in zip(readable, outputs, strict=True):
            rows[i] = row
    return rows


def _in_order(function, inputs, at_once):
    """Yields inputs and results in order, with `at_once` calls in parallel."""
    waiting = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(at_once)
    try:
        for each in inputs:
            waiting.append((each, pool.submit(function, each)))
            if len(waiting) >= at_once:
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def to_record(path, outputs, label_names, threshold):
    """Makes the record of one image, ready for JSON.

    Args:
        path: Path of the image, a string.
        outputs: The image's row of each array of a `Predictor`'s dict; the
            `TooLargeError` of an image that was not sent; or the `Fault` of one that
            cannot be read.
        label_names: The L labels.
        threshold: Smallest probability of a predicted label; a number for all labels,
            or `(L,)`.

    Returns:
        The dict of `predict`, without `picture`. For an unreadable image it has no
        `scores` and no `probabilities`.
    """
    empty = {"image": path, "valid": False, "labels": [], "boxes": {}}
    if isinstance(outputs, TooLargeError):
        return {**empty, "error": str(outputs)}
    if isinstance(outputs, Fault):
        return {**empty, "error": outputs.detail}
    if not outputs["valid"]:
        return empty
    predicted = predicted_labels(
        outputs["probabilities"], outputs["region_scores"], label_names, threshold
    )
    boxes = {
        name: [round(float(edge), 4) for edge in outputs["boxes"][region]]
        for name, _, region in predicted
    }
    return {
        "image": path,
        "valid": True,
        "labels": [name for name, _, _ in predicted],
        "boxes": boxes,
        "scores": _by_label(label_names, outputs["scores"]),
        "probabilities": _by_label(label_names, outputs["probabilities"]),
    }


def _by_label(label_names, values):
    return {name: float(v) for name, v in zip(label_names, values, strict=True)}


def _draw(encoded, outputs, predictor, threshold, path):
    data = predictor.config.data
    image = decode_image(encoded, data.max_pixels, data.truncated).numpy()
    predicted = predicted_labels(
        outputs["probabilities"],
        outputs["region_scores"],
        predictor.label_names,
        threshold,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        per_step = predictor.config.regions_a_step
        picture = draw_regions(image, outputs["boxes"], predicted, per_step=per_step)
        picture.save(temporary)


def _picture_names(paths, output_dir):
    """Names each picture after its image, with a number if names would collide."""
    names = [output_dir / name for name in file_names(paths, ".png")]
    # Others get no picture, and some have no place: a link that leads to itself.
    drawn = [path.is_file() for path in paths]
    images = {path.resolve() for path in itertools.compress(paths, drawn)}
    for name in itertools.compress(names, drawn):
        if name.resolve() in images:
            raise ValueError(
                "A picture would replace its image. Expected another --output_dir. "
                f"Received: {output_dir}, where {name.name} is one of the images"
            )
    return names
