"""Object proposals of EdgeBoxes, which table 3 compares with learnt regions.

EdgeBoxes proposes boxes that contain many whole contours, without using labels. It is
slower than the network and not part of its graph: proposals are computed once for each
image, on all processors, and cached in a file next to the run folders.
"""

import dataclasses
import hashlib
import sys

import joblib
import numpy as np
import tensorflow as tf

from ram_tf.data import progress
from ram_tf.data.image_bytes import read_file
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.image_faults import REFUSE
from ram_tf.storage import cache

OVERLAP = 0.7  # Largest IoU of two proposals (section 5.3.1).
# Ours, see `edge_map`: with these values the first five boxes of photographs covered
# most objects.
LONGER_SIDE = 200
SMOOTHING = 2.0
STRONG = 90
# EdgeBoxes ignores boxes below 1000 pixels at 500 pixels on the longer side of a VOC
# photograph. This is the same size at `LONGER_SIDE`.
SMALLEST = 1000 * (LONGER_SIDE / 500) ** 2
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
SAVE_EVERY = 500  # images


def edge_map(image):
    """Computes strength and direction of the edges of an image.

    Ours, because the structured forest of Zitnick and Dollar cannot be distributed with
    this program: the local maxima of the gradient, after smoothing that keeps contours
    rather than texture. Strengths are relative to the image's strong edges, so that
    they do not depend on contrast.

    Args:
        image: `(H, W, 3)` uint8.

    Returns:
        Two arrays `(H, W)` float32: strength in [0, 1], 0 outside edges; and direction
        of the gradient in [0, pi), x to the right and y down.
    """
    cv2 = _opencv()
    smooth = cv2.GaussianBlur(image, (0, 0), SMOOTHING)
    across = cv2.Scharr(smooth, cv2.CV_16S, 1, 0)
    down = cv2.Scharr(smooth, cv2.CV_16S, 0, 1)
    # Use the colour channel with the largest gradient.
    change = np.hypot(across, down, dtype="float32")
    channel = change.argmax(-1)[..., None]
    across, down, change = (
        np.ascontiguousarray(np.take_along_axis(values, channel, -1)[..., 0])
        for values in (across, down, change)
    )
    # With thresholds of 0, Canny only does its non-maximum suppression.
    edges = cv2.Canny(across, down, 0, 0, L2gradient=True) > 0
    strong = np.percentile(change[edges], STRONG) if edges.any() else 1.0
    strength = np.where(edges, np.minimum(change / strong, 1.0), 0.0)
    direction = np.arctan2(down, across, dtype="float32") % np.float32(np.pi)
    return strength.astype("float32"), direction


def edge_boxes(image, count=5, pad=True):
    """Returns the best boxes of EdgeBoxes after non-maximum suppression.

    Args:
        image: `(H, W, 3)` uint8.
        count: Number K of boxes.
        pad: Whether to fill up with boxes of the whole image if EdgeBoxes finds fewer.

    Returns:
        `(K, 4)` float32 `ymin, xmin, ymax, xmax` as fractions of the image, the best
        first, with a pairwise IoU of at most `OVERLAP`. Possibly fewer without `pad`.

    Raises:
        ModuleNotFoundError: OpenCV with its contributed modules is not installed.

    Reference:
        Zitnick and Dollar, Edge Boxes: Locating Object Proposals from Edges, ECCV 2014.
    """
    cv2 = _opencv()
    height, width = image.shape[:2]
    scale = LONGER_SIDE / max(height, width)
    # Images of a few pixels in height or width have no closed contours.
    width, height = (max(16, round(side * scale)) for side in (width, height))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    strength, direction = edge_map(
        cv2.resize(image, (width, height), interpolation=interpolation)
    )
    # A new object for each image, since it never frees its memory.
    proposer = cv2.ximgproc.createEdgeBoxes(minBoxArea=SMALLEST)
    found, scores = proposer.getBoundingBoxes(strength, direction)
    padding = np.tile(np.float32(WHOLE_IMAGE), (count if pad else 0, 1))
    if not len(found):
        return padding
    left, top, across, down = np.asarray(found, "float32").T
    # OpenCV counts pixels from 1 here, as the authors' MATLAB code does.
    left, top = left - 1, top - 1
    boxes = np.stack([top, left, top + down, left + across], -1)
    boxes = np.clip(boxes / np.float32([height, width] * 2), 0, 1)
    kept = tf.image.non_max_suppression(boxes, np.ravel(scores), count, OVERLAP)
    return np.concatenate([boxes[kept.numpy()], padding])[:count]


def for_run(run, split):
    """Adds proposals to a split if the run uses them.

    They are cached in the parent of the run's folder, where other runs can use them.

    Args:
        run: The `Run`.
        split: The `Split`.

    Returns:
        The `Split`, with proposals if the run's `region_source` is "proposals".
    """
    settings = run.config
    if not settings.given_regions or split.proposals is not None:
        return split
    folder = run.folder.parent
    limits = settings.data.max_pixels, settings.data.truncated
    return propose(split, folder, settings.attention.regions, *limits)


def propose(split, folder, count, max_pixels, truncated=REFUSE):
    """Adds proposals to a split, and computes those that are not cached.

    Args:
        split: The `Split`.
        folder: Folder of the cache `proposals-K.npz`, which an interrupted call also
            writes.
        count: Number K of proposals per image.
        max_pixels: See `decode_image`.
        truncated: See `decode_image`.

    Returns:
        The `Split` with its `proposals`.
    """
    path = folder / f"proposals-{count}.npz"
    cached = _read(path, count)
    keys = [_key(image) for image in split.images]
    missing = {k: i for k, i in zip(keys, split.images, strict=True) if k not in cached}
    try:
        found = _compute(list(missing.values()), count, max_pixels, truncated)
        for number, (key, boxes) in enumerate(zip(missing, found, strict=True), 1):
            cached[key] = boxes
            if number % SAVE_EVERY == 0:
                _write(path, cached)
    finally:
        if missing and cached:
            _write(path, cached)
    return dataclasses.replace(split, proposals=np.stack([cached[key] for key in keys]))


def _compute(images, count, *limits):
    """Yields the proposals of each image, in order."""
    if not images:
        return
    _opencv()  # Raises here, not in a thread, if it is not installed.
    # Threads are enough, since OpenCV releases the interpreter lock.
    pool = joblib.Parallel(-1, return_as="generator", prefer="threads")
    found = pool(joblib.delayed(_propose)(i, count, limits) for i in images)
    yield from progress.bar(found, "proposals", len(images), "img")


def _propose(image, count, limits):
    return edge_boxes(decode_image(read_file(image), *limits).numpy(), count)


def _key(image):
    method = f"{OVERLAP} {LONGER_SIDE} {SMOOTHING} {STRONG} "
    return hashlib.sha256(method.encode() + cache.identity(image)).hexdigest()[:16]


def _read(path, count):
    arrays = cache.read(path)
    if arrays is None:
        return {}
    keys, boxes = (arrays.get(name, np.zeros(())) for name in ("keys", "boxes"))
    fits = keys.shape == (len(boxes),) if boxes.ndim else False
    if not fits or boxes.shape[1:] != (count, 4) or not _are_finite(boxes):
        print(f"{path} is no cache of proposals; computed again", file=sys.stderr)
        return {}
    return dict(zip(keys, boxes, strict=True))


def _are_finite(boxes):
    return boxes.dtype == np.float32 and np.isfinite(boxes).all()


def _write(path, cached):
    cache.write(
        path, {"keys": np.array([*cached]), "boxes": np.stack([*cached.values()])}
    )


def _opencv():
    """Imports OpenCV, an optional dependency."""
    try:
        import cv2
        import cv2.ximgproc
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Object proposals need OpenCV with its contributed modules. Expected "
            "opencv-contrib-python-headless, which "
            '`pip install -e ".[proposals]"` installs'
        ) from error
    return cv2
