"""Tests that labels of any script are drawn so that they can be told apart."""

import pathlib

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from ram_tf.data import drawing, label_fonts

CAT, DOG, BIRD = "\u732b", "\u72ac", "\u9ce5"
BOX = np.array([[0.1, 0.1, 0.5, 0.5]])


@pytest.fixture(autouse=True)
def fonts(monkeypatch):
    """The list of the system's fonts, which a test may fill; nothing is told yet."""
    installed = []
    monkeypatch.setattr(label_fonts, "_installed", lambda: installed)
    monkeypatch.setattr(label_fonts, "_told", set())
    forget()
    yield installed
    forget()


def forget():
    for cached in (label_fonts._best, label_fonts._has, label_fonts._system_fonts):
        cached.cache_clear()


def write_font(path, letters, is_empty=False):
    """Writes a font whose signs are bars, each at a height of its own."""
    names = [".notdef", *(f"sign{i}" for i in range(len(letters)))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(
        {ord(c): name for c, name in zip(letters, names[1:], strict=True)}
    )
    glyphs = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        if not is_empty:
            bottom = 150 * number
            corners = [(50, bottom), (50, bottom + 90), (900, bottom + 90)]
            pen.moveTo(corners[0])
            for corner in [*corners[1:], (900, bottom)]:
                pen.lineTo(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupOS2()
    builder.setupPost()
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.save(path)
    return str(path)


def drawn(name):
    image = np.full((64, 64, 3), 230, np.uint8)
    return np.asarray(drawing.draw_regions(image, BOX, [(name, 0.9, 0)]))


def differ(one, other):
    return one.shape != other.shape or bool((one != other).any())


def test_letters_are_drawn_in_a_font_of_the_system_that_has_them(fonts, tmp_path):
    fonts.append(write_font(tmp_path / "Some.ttf", [CAT, DOG]))
    assert label_fonts.spelled(CAT) == CAT
    assert label_fonts.fonts_of(CAT) == [label_fonts.DEFAULT, fonts[0]]
    assert differ(drawn(CAT), drawn(DOG))


def test_one_label_may_need_several_fonts(fonts, tmp_path, capsys):
    fonts.append(write_font(tmp_path / "One.ttf", [CAT]))
    fonts.append(write_font(tmp_path / "Two.ttf", [DOG, BIRD]))
    mixed = f"a {CAT} {DOG}{BIRD} z"
    assert label_fonts.spelled(mixed) == mixed
    plain = label_fonts.font(20)
    parts = [text for text, _ in label_fonts._parts(mixed, plain)]
    assert parts == ["a ", CAT, " ", DOG + BIRD, " z"]
    expected = plain.getlength("a ") + plain.getlength(" ") + plain.getlength(" z")
    assert label_fonts.length(mixed, plain) == pytest.approx(expected + 60, abs=1)
    drawn(mixed)
    assert not capsys.readouterr().err


def test_letters_that_no_font_has_are_told_once_and_drawn_as_code_points(capsys):
    assert label_fonts.spelled(f"big {CAT}") == "big [U+732B]"
    told = capsys.readouterr().err
    assert f"{CAT} (U+732B)" in told
    assert "Noto Sans CJK" in told
    one, other = drawn(CAT), drawn(DOG)
    assert differ(one, other)
    printed = capsys.readouterr().err
    assert "U+72AC" in printed
    assert "U+732B" not in printed


def test_a_font_with_empty_signs_is_not_used(fonts, tmp_path):
    fonts.append(write_font(tmp_path / "Empty.ttf", [CAT], is_empty=True))
    fonts.append(write_font(tmp_path / "Full.ttf", [CAT]))
    assert label_fonts.fonts_of(CAT)[1:] == [fonts[1]]


def test_a_font_of_substitutes_or_a_damaged_one_is_not_used(fonts, tmp_path):
    fonts.append(write_font(tmp_path / "LastResort.ttf", [CAT]))
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    fonts += [str(tmp_path / "Broken.ttf"), str(tmp_path / "none.ttf")]
    assert label_fonts.spelled(CAT) == "[U+732B]"


def test_a_plain_font_is_preferred_to_a_bold_one(fonts, tmp_path):
    for name in ("A-Bold.ttf", "B-Regular.ttf"):
        fonts.append(write_font(tmp_path / name, [CAT]))
    assert label_fonts.fonts_of(CAT)[1:] == [fonts[1]]


def test_invisible_letters_make_labels_different():
    for hidden in ("\u200b", "\u00ad", "\u202e", "\t"):
        assert differ(drawn("cat"), drawn(f"cat{hidden}"))


@pytest.mark.parametrize("anchor", ["lm", "mm"])
def test_a_text_of_the_default_font_is_drawn_as_before(anchor):
    plain = label_fonts.font(20)
    pictures = [Image.new("RGB", (300, 60), "white") for _ in range(2)]
    place, black = (120, 30), (0, 0, 0)
    text = "Großer Кот, γάτα 0.90"
    ImageDraw.Draw(pictures[0]).text(place, text, black, plain, anchor=anchor)
    draw = ImageDraw.Draw(pictures[1])
    label_fonts.write(draw, place, label_fonts.spelled(text), black, plain, anchor)
    np.testing.assert_array_equal(*map(np.asarray, pictures))


def test_the_default_font_is_installed():
    assert pathlib.Path(label_fonts.DEFAULT).is_file()
