"""Shares as colours, and letters that can be read on them."""

import numpy as np

from ram_tf.data import drawing

WHITE, INK = (255, 255, 255), (27, 31, 36)
# From 0 to 100 %: one hue, ever darker, so that it can be told without colour too.
# Letters in white or ink can be read on every tenth of it.
SHADES = {
    0: WHITE,
    0.6: drawing.colour(1),
    0.7: drawing.colour(6),
    1: (0, 50, 85),
}


def shades(shares):
    """The colours `(..., 3)` uint8 of shares, see `SHADES`."""
    colours = np.array(list(SHADES.values()))
    channels = [np.interp(shares, list(SHADES), channel) for channel in colours.T]
    return np.round(np.stack(channels, -1)).astype("uint8")


def shade(share):
    """The ground of a share in [0, 1], and letters to be read on it, in CSS."""
    ground = shades(share).tolist()
    return {"ground": css(ground), "letters": letters_on(ground)}


def letters_on(ground):
    """White or ink, whichever is read better on a colour, as CSS."""
    return css(max(WHITE, INK, key=lambda letters: contrast(letters, ground)))


def css(colour):
    """A colour of three integers as CSS writes it."""
    return "#" + bytes(colour).hex()


def contrast(one, other):
    """How well two colours are told apart: 1 not at all, 21 as black from white.

    Args:
        one: Red, green and blue, 0 to 255.
        other: The same.

    Reference:
        Web Content Accessibility Guidelines 2.2, "contrast ratio"; letters of usual
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
