"""The report's charts: curves, heat maps and frames as SVG, shares as colours."""

import numpy as np

from ram_tf.data import drawing

STEPS = 200  # of a curve, half a pixel each
CELLS = 32  # of a heat map's edge


def curve(heights):
    """Returns the corners of a step curve, `(recall, precision)`, from left to right.

    Args:
        heights: The precision at each positive, see `multi_label.precision_steps`. If
            there are more than `STEPS`, neighbours are averaged; the area is the same.
    """
    steps = min(STEPS, len(heights))
    ends = np.arange(1, steps + 1) * len(heights) // steps
    starts = np.append(0, ends[:-1])
    means = np.add.reduceat(heights, starts) / (ends - starts)
    recall = np.column_stack([starts, ends]).ravel() / len(heights)
    return recall, np.repeat(means, 2)


def path(x, y):
    """Returns the `d` of an SVG path through points of the unit square, y up."""
    points = [
        f"{100 * a:.1f},{100 * (1 - b):.1f}".replace(".0", "")
        for a, b in zip(x, y, strict=True)
    ]
    return "M" + "L".join(points)


def coverage(boxes, cells=CELLS):
    """Returns how often each cell of the image is covered by a region.

    Args:
        boxes: `(n, K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image.
        cells: Number of cells along each edge.

    Returns:
        `(K, cells, cells)`: the share of images whose region contains the centre of the
        cell, rows from top to bottom.
    """
    boxes = np.asarray(boxes, "float64")[..., None]
    middles = (np.arange(cells) + 0.5) / cells
    rows = (boxes[..., 0, :] <= middles) & (middles <= boxes[..., 2, :])
    columns = (boxes[..., 1, :] <= middles) & (middles <= boxes[..., 3, :])
    # Matrix products: (n, K, cells, cells) would not fit in memory for COCO.
    rows, columns = (
        inside.transpose(1, 0, 2).astype("float64") for inside in (rows, columns)
    )
    return rows.transpose(0, 2, 1) @ columns / len(boxes)


def frame(box):
    """Returns a box as a rectangle of a drawing that is 100 wide and high."""
    top, left, bottom, right = (float(edge) for edge in box)
    return {
        "x": round(100 * left, 1),
        "y": round(100 * top, 1),
        "width": round(100 * (right - left), 1),
        "height": round(100 * (bottom - top), 1),
    }


WHITE, INK = (255, 255, 255), (27, 31, 36)
# From 0 to 100 %: one hue that gets darker, so that it is readable without colour.
# White or ink letters have enough contrast on every tenth of it.
SHADES = {
    0: WHITE,
    0.6: drawing.colour(1),
    0.7: drawing.colour(6),
    1: (0, 50, 85),
}


def shades(shares):
    """Returns the colours `(..., 3)` uint8 of shares, see `SHADES`."""
    colours = np.array(list(SHADES.values()))
    channels = [np.interp(shares, list(SHADES), channel) for channel in colours.T]
    return np.round(np.stack(channels, -1)).astype("uint8")


def shade(share):
    """Returns the background of a share in [0, 1] and the letters on it, as CSS."""
    ground = shades(share).tolist()
    return {"ground": css(ground), "letters": letters_on(ground)}


def letters_on(ground):
    """Returns white or ink, whichever has more contrast to a colour, as CSS."""
    return css(max(WHITE, INK, key=lambda letters: contrast(letters, ground)))


def css(colour):
    """Returns a colour of three integers as CSS."""
    return "#" + bytes(colour).hex()


def contrast(one, other):
    """Returns the contrast of two colours: 1 for equal ones, 21 for black and white.

    Args:
        one: Red, green and blue, 0 to 255.
        other: The same.

    Reference:
        Web Content Accessibility Guidelines 2.2, "contrast ratio"; letters of normal
        size need 4.5.
    """
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (level / 255 for level in colour)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
