import numpy as np

from ram_tf.evaluation.report import shades


def test_letters_can_be_read_on_every_shade_and_shades_tell_shares_without_colour():
    colours = [tuple(c) for c in shades.shades(np.linspace(0, 1, 11)).tolist()]
    brightness = [shades.contrast(c, (0, 0, 0)) for c in colours]
    assert brightness == sorted(brightness, reverse=True)
    for ground in colours:
        letters = bytes.fromhex(shades.letters_on(ground)[1:])
        assert shades.contrast(letters, ground) >= 4.5
