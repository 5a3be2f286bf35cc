"""Writes labels of any script on images, in fonts that have their letters.

matplotlib's own font has Latin, Greek, Cyrillic, Arabic and Hebrew letters. For others,
the system's fonts are searched. A letter that no font has is written as its code point,
so that two labels never look the same.
"""

import functools
import pathlib
import sys
import unicodedata

import matplotlib
from matplotlib import font_manager, ft2font
from PIL import ImageFont

# Always installed.
DEFAULT = str(
    pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
)
# Fonts that draw one sign for many letters, or none.
_WITHOUT_LETTERS = ("lastresort", "adobeblank")
# Parts of the file names of fonts that are used only if no plain one has the letters.
_SPECIAL = "bold italic oblique mono condensed light thin black serif".split()
_JOINERS = "\u200c\u200d"  # invisible, but some scripts are written with them
_TOLD = 20  # letters of one message
_told = set()


def font(height):
    """Returns the `ImageFont` of most letters, of a height in pixels."""
    return _loaded(DEFAULT, height)


def spelled(text):
    """Returns a text with letters that no font has as code points, and tells of them.

    A letter is told of once, on stderr.

    >>> spelled("cat")
    'cat'
    """
    fonts = fonts_of(text)
    missing = sorted({c for c in text if _first(c, fonts) is None})
    _tell([letter for letter in missing if letter not in _told])
    for letter in missing:
        text = text.replace(letter, f"[U+{ord(letter):04X}]")
    return text


def _tell(letters):
    if not letters:
        return
    _told.update(letters)
    named = ", ".join(f"{c} (U+{ord(c):04X})" for c in letters[:_TOLD])
    more = f" and {len(letters) - _TOLD} more" if len(letters) > _TOLD else ""
    print(
        f"no font of this system has the letters {named}{more} of labels; pictures "
        "show their code points (a font such as Noto Sans CJK, once installed, is "
        "found by itself)",
        file=sys.stderr,
    )


def length(text, plain):
    """Returns the length of a text in pixels.

    Args:
        text: Result of `spelled`, or a part of it.
        plain: Result of `font`.
    """
    return sum(own.getlength(part) for part, own in _parts(text, plain))


def write(draw, place, text, ink, plain, anchor):
    """Writes a text.

    Args:
        draw: An `ImageDraw`.
        place: x and y in pixels.
        text: Result of `spelled`, or a part of it.
        ink: The red, green and blue, 0 to 255.
        plain: Result of `font`.
        anchor: "lm" if `place` is the middle of the left edge, "mm" for the centre.
    """
    parts = _parts(text, plain)
    if [own for _, own in parts] == [plain]:
        draw.text(place, text, ink, plain, anchor=anchor)
        return
    x, y = place
    if anchor == "mm":
        x -= length(text, plain) / 2
    ascent, descent = plain.getmetrics()
    for part, own in parts:
        # All fonts stand on the line of the plain one.
        draw.text((x, y + (ascent - descent) / 2), part, ink, own, anchor="ls")
        x += own.getlength(part)


def _parts(text, plain):
    """Divides a text into parts of one font each, with their fonts."""
    fonts, parts = fonts_of(text), []
    for letter in text:
        path = _first(letter, fonts) or DEFAULT
        # A mark stays with the letter that it is set on.
        is_mark = unicodedata.category(letter).startswith("M") or letter in _JOINERS
        if parts and is_mark and ord(letter) in _codes(parts[-1][1]):
            path = parts[-1][1]
        if parts and path == parts[-1][1]:
            parts[-1][0] += letter
        else:
            parts.append([letter, path])
    return [
        (part, plain if path == DEFAULT else _loaded(path, plain.size))
        for part, path in parts
    ]


def fonts_of(text):
    """Returns the paths of fonts that together have the letters of a text, if any do.

    The default font is the first; others follow only if it lacks letters.
    """
    fonts, missing = [DEFAULT], {c for c in text if not _has(DEFAULT, c)}
    while missing:
        best = _best(frozenset(missing))
        if best is None:
            break
        fonts.append(best)
        missing = {c for c in missing if not _has(best, c)}
    return fonts


def _first(letter, fonts):
    return next((path for path in fonts if _has(path, letter)), None)


@functools.lru_cache(4096)
def _best(letters):
    """Returns the font with the most of some letters; None if no font has any."""
    best, most = None, 0
    for path in _system_fonts():
        count = sum(ord(letter) in _codes(path) for letter in letters)
        if count > most:
            # Slower, but finds fonts whose signs are empty or cannot be drawn.
            count = sum(_has(path, letter) for letter in letters)
        if count > most:
            best, most = path, count
    return best


@functools.lru_cache(65_536)
def _has(path, letter):
    """Returns whether a font has a letter, and draws it so that it can be seen."""
    if unicodedata.category(letter) == "Cf" and letter not in _JOINERS:
        return False  # without a look of its own
    if ord(letter) not in _codes(path):
        return False
    if path == DEFAULT or letter.isspace() or letter in _JOINERS:
        return True
    is_mark = unicodedata.category(letter).startswith("M")
    try:
        return is_mark or _loaded(path, 20).getmask(letter).getbbox() is not None
    except (OSError, ValueError):
        return False  # of fixed size, as fonts of coloured pictures are


@functools.cache
def _system_fonts():
    """Returns the paths of the system's fonts, plain ones first."""
    names = {path: pathlib.Path(path).stem.lower() for path in _installed()}
    usable = (
        path
        for path, name in names.items()
        if not any(part in name for part in _WITHOUT_LETTERS)
    )
    return sorted(
        usable,
        key=lambda path: (sum(part in names[path] for part in _SPECIAL), path),
    )


def _installed():
    return font_manager.findSystemFonts()


@functools.cache
def _codes(path):
    """Returns the code points that a font has signs for."""
    try:
        return frozenset(ft2font.FT2Font(path).get_charmap())
    # FreeType's errors have several types.
    except Exception:
        return frozenset()


@functools.lru_cache(256)
def _loaded(path, height):
    return ImageFont.truetype(path, height)
