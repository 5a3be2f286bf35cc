"""Composes the embedded dataset: handwritten digits among clutter.

The canvases are made of scikit-learn's 8x8 digits, so that nothing is downloaded, and
the boxes of all digits are known.
"""

import functools
import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from ram_tf.data.split import Split

LABEL_NAMES = tuple("0123456789")
CANVAS = 96
# Heights in pixels, ours: a quarter to three quarters of the canvas. The smallest digit
# is lost when features are averaged over the canvas, the largest one exceeds the
# receptive field of the small backbone's cells.
SMALLEST, LARGEST = 26, 74
MOST_DIGITS = 4
# Pixels around a digit that stay free of others.
MARGIN = 2
COUNTS = {"train": 3000, "val": 500, "test": 1000}
# Ranges of the 1797 digits in a fixed permutation.
SOURCES = {"train": (0, 1100), "val": (1100, 1340), "test": (1340, 1797)}


def load(split, seed=0, count=None):
    """Composes the canvases of one split.

    A canvas contains one to four digits, at random places without overlap, with heights
    log-uniform from 26 to 74 pixels. The background is shaded and noisy, with blobs,
    thin strokes and illegible pieces of digits. Canvas `i` depends on `(split, seed,
    i)` only: a larger `count` begins with the canvases of a smaller one.

    Args:
        split: "train", "val" or "test"; no source digit occurs in two of them.
        seed: The seed of all but the division of the source digits; 0 or more.
        count: The number of canvases; None for 3000, 500 or 1000.

    Returns:
        A `Split` whose images are PNG bytes (96x96, grey), with the tight boxes of the
        digits.

    Raises:
        ValueError: The split is unknown, or the count or seed is out of range.
    """
    if split not in COUNTS:
        raise ValueError(
            f"Unknown split of digits. Expected one of: {', '.join(COUNTS)}. "
            f"Received: {split!r}"
        )
    count = COUNTS[split] if count is None else count
    if count < 1 or seed < 0:
        raise ValueError(
            "The digits cannot be composed. Expected count >= 1 and seed >= 0. "
            f"Received: count={count}, seed={seed}"
        )
    sources = _source_digits(split)
    images, boxes = [], []
    labels = np.zeros((count, len(LABEL_NAMES)), np.int8)
    for i in range(count):
        rng = np.random.default_rng([seed, tuple(COUNTS).index(split), i])
        canvas, found = _compose(rng, *sources)
        for label in found:
            labels[i, LABEL_NAMES.index(label)] = 1
        images.append(_encode(canvas))
        boxes.append({k: np.asarray(v, np.float32) for k, v in found.items()})
    return Split(
        images=tuple(images),
        names=tuple(f"{split}/{i:05d}.png" for i in range(count)),
        labels=labels,
        label_names=LABEL_NAMES,
        boxes=tuple(boxes),
    )


@functools.cache
def _source_digits(split):
    """Returns the `(n, 8, 8)` images in [0, 1] and `(n,)` classes of a split."""
    data = load_digits()
    flat = data.data
    norms = (flat**2).sum(1)
    distance = norms[:, None] + norms[None] - 2 * flat @ flat.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, 5, axis=1)[:, :5]
    # At 8x8 a few digits are ambiguous even to people, and close to digits of another
    # class: we keep those whose five nearest neighbours are of their own class.
    legible = (data.target[nearest] == data.target[:, None]).all(1)
    order = np.random.default_rng(0).permutation(len(flat))[slice(*SOURCES[split])]
    images = (data.images / 16).astype(np.float32)
    order = [i for i in order if legible[i] and not _is_blot(images[i])]
    return images[order], data.target[order]


def _is_blot(image):
    """Whether the ink fills a wide box, as that of a "1" in very bold strokes does."""
    ink = image[_extent(image.max(1)), _extent(image.max(0))]
    return ink.shape[1] >= 4 and ink.mean() > 0.6


def _compose(rng, sources, classes):
    """Draws one canvas.

    Returns:
        The `(96, 96)` canvas in [0, 1], and a dict from label name to the list of its
        boxes.
    """
    canvas = _background(rng)
    occupied = np.zeros((CANVAS, CANVAS), bool)
    found = {}
    count = rng.integers(1, MOST_DIGITS + 1)
    heights = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), count))
    # Largest first, as large digits find no room among scattered small ones.
    for height in sorted(heights, reverse=True):
        which = rng.integers(len(sources))
        place = None
        while place is None and height >= SMALLEST:
            digit = _upscale(sources[which], height)
            place = _free_place(rng, digit, occupied)
            height *= 0.8
        if place is None:
            continue  # no room even for a small one
        ymin, xmin = place
        ymax, xmax = ymin + digit.shape[0], xmin + digit.shape[1]
        occupied[
            max(0, ymin - MARGIN) : ymax + MARGIN, max(0, xmin - MARGIN) : xmax + MARGIN
        ] = True
        _blend(canvas, digit, place, rng.uniform(0.75, 1.0))
        box = np.array([ymin, xmin, ymax, xmax]) / CANVAS
        found.setdefault(LABEL_NAMES[classes[which]], []).append(box)
    for _ in range(rng.integers(6, 15)):
        draw = (_fragment, _stroke, _blob)[rng.choice(3, p=(0.6, 0.25, 0.15))]
        piece = draw(rng, sources)
        # A piece that would touch a digit is left out instead of cut, since a cut edge
        # of the clutter would show where the digit's box is.
        place = _free_place(rng, piece, occupied, tries=8)
        if place is not None:
            _blend(canvas, piece, place, rng.uniform(0.45, 1.0))
    noise = rng.standard_normal(canvas.shape, np.float32)
    canvas += np.float32(rng.uniform(0.01, 0.04)) * noise
    return np.clip(canvas, 0, 1), found


def _background(rng):
    """Returns a smooth shading, dark enough for all digits to be visible."""
    coarse = rng.uniform(0.0, 0.4, (4, 4)).astype(np.float32)
    return np.clip(_resize(coarse, CANVAS, CANVAS), 0, 0.45)


def _upscale(source, height):
    """Returns the digit resized to `height` pixels and cropped to its ink."""
    side = round(height * 10 / 8)
    digit = np.clip(_resize(_rim(source), side, side), 0, 1)
    return digit[_extent(digit.max(1)), _extent(digit.max(0))]


def _rim(ink):
    """Returns the ink with a dark border, so that resizing fades its edges."""
    framed = np.zeros((ink.shape[0] + 2, ink.shape[1] + 2), np.float32)
    framed[1:-1, 1:-1] = ink
    return framed


def _extent(profile):
    ink = np.flatnonzero(profile > 0.25)
    return slice(ink[0], ink[-1] + 1)


def _fragment(rng, sources):
    """Returns a piece of a digit: a small quarter, or a horizontal strip."""
    source = sources[rng.integers(len(sources))]
    if rng.random() < 0.5:
        y, x = rng.integers(0, 5, 2)
        side = rng.integers(6, 11)
        return np.clip(_resize(_rim(source[y : y + 4, x : x + 4]), side, side), 0, 1)
    # Horizontal strips only: a vertical one looks like a "1".
    y = rng.integers(0, 6)
    width = round(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    height = max(4, round(width * 0.4))
    return np.clip(_resize(_rim(source[y : y + 2]), height, width), 0, 1)


def _stroke(rng, sources):
    """Returns a slanted line, thinner than those of digits of that height."""
    del sources
    height, width = rng.integers(4, 30), rng.integers(12, 40)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    line = np.linspace(0, height - 1, width) + rng.uniform(-3, 3) * np.sin(
        np.linspace(0, np.pi, width)
    )
    # Distance perpendicular to the line, so that steep lines are thin, too.
    across = np.abs(y - line[x.astype(int)]) / np.hypot(1, height / width)
    stroke = np.clip(1.3 - across, 0, 1).astype(np.float32)
    return stroke[:, ::-1] if rng.random() < 0.5 else stroke


def _blob(rng, sources):
    """Returns a soft round spot."""
    del sources
    side = np.linspace(-1, 1, rng.integers(6, 18), dtype=np.float32)
    return np.clip(1.1 - np.hypot(side[:, None], side), 0, 1)


def _free_place(rng, piece, occupied, tries=40):
    """Returns `(ymin, xmin)` of a free place for the piece, None if none is found."""
    height, width = piece.shape
    for _ in range(tries):
        y = rng.integers(0, CANVAS - height + 1)
        x = rng.integers(0, CANVAS - width + 1)
        if not occupied[y : y + height, x : x + width].any():
            return y, x
    return None


def _blend(canvas, piece, place, brightness):
    """Blends the piece into the canvas, in place, with the piece as its opacity."""
    y, x = place
    under = canvas[y : y + piece.shape[0], x : x + piece.shape[1]]
    under += piece * (brightness - under)


def _resize(image, height, width):
    return _weights(image.shape[0], height) @ image @ _weights(image.shape[1], width).T


@functools.cache
def _weights(size, resized):
    """Returns the `(resized, size)` matrix that resizes a column of pixels.

    For the fifty thousand pieces, two small products are ten times as fast as Pillow.
    """
    unit = Image.fromarray(np.eye(size, dtype=np.float32))
    return np.asarray(unit.resize((size, resized), Image.Resampling.BICUBIC))


def _encode(canvas):
    grey = Image.fromarray(np.round(canvas * 255).astype(np.uint8))
    data = io.BytesIO()
    grey.save(data, "PNG", compress_level=1)
    return data.getvalue()
