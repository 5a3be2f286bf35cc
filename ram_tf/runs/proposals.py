"""Object proposals: the regions that table 3 compares the model's own with.

EdgeBoxes finds boxes that hold many outlines whole, and no labels decide about it. That
takes longer than the network does and is no part of its graph: proposals are found once
for each image, on all processors, and kept in a file beside the runs.
"""

import dataclasses
import hashlib
import sys

import joblib
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ram_tf.data.decoding import decode_image
from ram_tf.storage import cache

OVERLAP = 0.7  # Largest IoU of two proposals (section 5.3.1).
# Ours, see `edge_map`. Of these the first five boxes met most objects on photographs.
LONGER_SIDE = 200
SMOOTHING = 2.0
STRONG = 90
# EdgeBoxes leaves out boxes of less than 1000 pixels of a VOC photograph, which has 500
# on its longer side; this many it leaves out here.
SMALLEST = 1000 * (LONGER_SIDE / 500) ** 2
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
SAVE_EVERY = 500  # images


def edge_map(image):
    """Where the edges of an image are, how strong, and which way they face.

    The structured forest that Zitnick and Dollar trained for it is a file of its own
    that cannot come with this program. Ours are the local maxima of the image's
    gradient, after smoothing that leaves outlines rather than texture. Their strength
    is relative to the image's own strong edges, so that contrast does not matter.

    Args:
        image: `(H, W, 3)` uint8.

    Returns:
        A pair of `(H, W)` float32: strength in [0, 1], 0 off the edges; and the
        direction of the gradient in [0, pi), x right and y down.
    """
    cv2 = _opencv()
    smooth = cv2.GaussianBlur(image, (0, 0), SMOOTHING)
    across = cv2.Scharr(smooth, cv2.CV_16S, 1, 0)
    down = cv2.Scharr(smooth, cv2.CV_16S, 0, 1)
    # Of the three colours the one that changes most.
    change = np.hypot(across, down, dtype="float32")
    most = change.argmax(-1)[..., None]
    across, down, change = (
        np.ascontiguousarray(np.take_along_axis(values, most, -1)[..., 0])
        for values in (across, down, change)
    )
    # With thresholds of 0, Canny's maxima across the edge are all that is left of it.
    edges = cv2.Canny(across, down, 0, 0, L2gradient=True) > 0
    strong = np.percentile(change[edges], STRONG) if edges.any() else 1.0
    strength = np.where(edges, np.minimum(change / strong, 1.0), 0.0)
    direction = np.arctan2(down, across, dtype="float32") % np.float32(np.pi)
    return strength.astype("float32"), direction


def edge_boxes(image, count=5, pad=True):
    """The best boxes that EdgeBoxes proposes, after non-maximum suppression.

    Args:
        image: `(H, W, 3)` uint8.
        count: K.
        pad: Whether the whole image stands for each that is missing, where EdgeBoxes
            finds fewer.

    Returns:
        `(K, 4)` float32 `ymin, xmin, ymax, xmax` as fractions of the image, the best
        first, no two with an IoU above `OVERLAP`; without `pad` perhaps fewer.

    Raises:
        ModuleNotFoundError: OpenCV with its contributed modules is not installed.

    Reference:
        Zitnick and Dollar, Edge Boxes: Locating Object Proposals from Edges, ECCV 2014.
    """
    cv2 = _opencv()
    height, width = image.shape[:2]
    scale = LONGER_SIDE / max(height, width)
    # A strip of a few pixels has no inside that edges could be closed around.
    width, height = (max(16, round(side * scale)) for side in (width, height))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    strength, direction = edge_map(
        cv2.resize(image, (width, height), interpolation=way)
    )
    # A new one for each image: it keeps what it allocates.
    proposer = cv2.ximgproc.createEdgeBoxes(minBoxArea=SMALLEST)
    found, scores = proposer.getBoundingBoxes(strength, direction)
    padding = np.tile(np.float32(WHOLE_IMAGE), (count if pad else 0, 1))
    if not len(found):
        return padding
    left, top, across, down = np.asarray(found, "float32").T
    # OpenCV counts pixels from 1 here, as the authors' MATLAB does.
    left, top = left - 1, top - 1
    boxes = np.stack([top, left, top + down, left + across], -1)
    boxes = np.clip(boxes / np.float32([height, width] * 2), 0, 1)
    kept = tf.image.non_max_suppression(boxes, np.ravel(scores), count, OVERLAP)
    return np.concatenate([boxes[kept.numpy()], padding])[:count]


def for_run(run, split):
    """Gives a split the proposals that a run looks at, if it is one that does.

    They are kept in the folder that the run's own lies in, so that the runs there share
    them, whatever splits they are of.

    Args:
        run: The `Run`.
        split: The `Split`.

    Returns:
        The `Split`, with proposals where the run's `region_source` asks for them.
    """
    settings = run.config
    if not settings.given_regions or split.proposals is not None:
        return split
    folder = run.folder.parent
    return propose(split, folder, settings.attention.regions, settings.data.max_pixels)


def propose(split, folder, count, max_pixels):
    """Finds the proposals of a split, as far as they are not known yet.

    Args:
        split: The `Split`.
        folder: Where `proposals-K.npz` keeps what was found, also by an interrupted
            call.
        count: K.
        max_pixels: See `decode_image`.

    Returns:
        The `Split` with its `proposals`.
    """
    path = folder / f"proposals-{count}.npz"
    known = _read(path, count)
    keys = [_key(image) for image in split.images]
    missing = {k: i for k, i in zip(keys, split.images, strict=True) if k not in known}
    try:
        found = _find(list(missing.values()), count, max_pixels)
        for number, (key, boxes) in enumerate(zip(missing, found, strict=True), 1):
            known[key] = boxes
            if number % SAVE_EVERY == 0:
                _write(path, known)
    finally:
        if missing and known:
            _write(path, known)
    return dataclasses.replace(split, proposals=np.stack([known[key] for key in keys]))


def _find(images, count, max_pixels):
    """Yields the proposals of each image, in order."""
    if not images:
        return
    _opencv()  # Says what is missing before anything starts.
    # Threads, since OpenCV lets go of the interpreter.
    pool = joblib.Parallel(-1, return_as="generator", prefer="threads")
    found = pool(joblib.delayed(_of_image)(i, count, max_pixels) for i in images)
    yield from tqdm(found, "proposals", len(images), unit="img", leave=False)


def _of_image(image, count, max_pixels):
    encoded = image if isinstance(image, bytes) else tf.io.read_file(image)
    return edge_boxes(decode_image(encoded, max_pixels).numpy(), count)


def _key(image):
    method = f"{OVERLAP} {LONGER_SIDE} {SMOOTHING} {STRONG} "
    return hashlib.sha256(method.encode() + cache.identity(image)).hexdigest()[:16]


def _read(path, count):
    arrays = cache.read(path)
    if arrays is None:
        return {}
    keys, boxes = (arrays.get(name, np.zeros(())) for name in ("keys", "boxes"))
    fits = keys.shape == (len(boxes),) if boxes.ndim else False
    if not fits or boxes.shape[1:] != (count, 4) or not _are_numbers(boxes):
        print(f"found again, since these are no proposals: {path}", file=sys.stderr)
        return {}
    return dict(zip(keys, boxes, strict=True))


def _are_numbers(boxes):
    return boxes.dtype == np.float32 and np.isfinite(boxes).all()


def _write(path, known):
    cache.write(
        path, {"keys": np.array([*known]), "boxes": np.stack([*known.values()])}
    )


def _opencv():
    """OpenCV, imported only where proposals are asked for."""
    try:
        import cv2
        import cv2.ximgproc
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Object proposals need OpenCV with its contributed modules. Expected "
            "opencv-contrib-python-headless to be installed, as "
            '`pip install -e ".[proposals]"` does'
        ) from error
    return cv2
