"""Tests the pixels of drawn pictures."""

import numpy as np
import pytest
from PIL import Image

from ram_tf.data import drawing

GROUND = 120  # a grey that no line, letter or palette colour has


def grey(height, width):
    return np.full((height, width, 3), GROUND, "uint8")


def drawn(picture):
    """Returns where the picture is not the grey background: `(H, W)` bool."""
    return (np.asarray(picture) != GROUND).any(-1)


def colours(picture):
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


LOWER_LEFT = np.array([[0.6, 0.1, 0.9, 0.4]])  # ymin, xmin, ymax, xmax


def test_a_box_is_drawn_at_its_fractions_with_y_down():
    picture = drawing.draw_regions(grey(400, 400), LOWER_LEFT, [("cat", 0.9, 0)])
    touched = drawn(picture)[:640]
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    # 640 pixels a side; the tolerance covers the dark rim and half a line.
    np.testing.assert_allclose(rows[[0, -1]], [384, 575], atol=2)
    np.testing.assert_allclose(columns[[0, -1]], [64, 255], atol=2)


def test_a_box_is_drawn_at_its_fractions_on_an_image_that_is_not_square():
    picture = drawing.draw_regions(grey(200, 400), LOWER_LEFT, [("cat", 0.9, 0)])
    touched = drawn(picture)[:320]
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    np.testing.assert_allclose(rows[[0, -1]], [192, 287], atol=2)
    np.testing.assert_allclose(columns[[0, -1]], [64, 255], atol=2)


@pytest.mark.parametrize("shape", [(96, 96), (2000, 1000), (300, 2000), (1, 1)])
def test_images_of_all_sizes_are_drawn_with_the_same_longer_side(shape):
    picture = drawing.draw_regions(grey(*shape), LOWER_LEFT, [], size=480)
    plain = drawn(picture)[:480, : picture.width]
    assert picture.mode == "RGB"
    expected = 480 * np.array(shape) / max(shape)
    assert picture.width == max(round(expected[1]), 240)
    assert (~plain).sum() > 0.8 * expected.prod()
    # The legend below is the same for all of them.
    assert 20 < picture.height - max(1, round(expected[0])) < 60


def test_the_colour_of_a_label_in_the_legend_is_that_of_its_box():
    boxes = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]])
    image = grey(640, 640)
    one = drawing.draw_regions(image, boxes, [("cat", 0.9, 1)])
    box = colours(one.crop((300, 300, 640, 640))) - {(GROUND,) * 3}
    legend = colours(one.crop((0, 640, 640, one.height)))
    coloured = {colour for colour in box if len(set(colour)) > 1}
    assert coloured & legend
    # The other region is drawn without colour.
    other = one.crop((0, 0, 300, 300))
    assert all(len(set(colour)) == 1 for colour in colours(other))
    assert drawn(other).any()


def test_regions_of_a_step_have_its_colour_and_their_own_numbers():
    boxes = np.tile([[0.1, 0.1, 0.4, 0.4]], (45, 1))
    in_ninth, in_tenth = (
        drawing.draw_regions(grey(640, 640), boxes, [("cat", 0.9, k)], per_step=9)
        for k in (8, 9)
    )
    assert drawing.colour(0) in colours(in_ninth)
    assert drawing.colour(1) in colours(in_tenth)
    assert drawing.colour(1) not in colours(in_ninth)
    # Within a step only the numbers differ.
    first = drawing.draw_regions(grey(640, 640), boxes, [("cat", 0.9, 0)], per_step=9)
    assert drawing.colour(0) in colours(first)
    assert np.any(np.asarray(first) != np.asarray(in_ninth))


def test_many_regions_that_predicted_no_label_are_not_drawn():
    boxes = np.tile([[0.5, 0.5, 0.9, 0.9]], (drawing.MANY_REGIONS, 1))
    few, many = (
        drawing.draw_regions(grey(640, 640), some, []) for some in (boxes[1:], boxes)
    )
    assert drawn(few)[:640].any()
    assert not drawn(many)[:640].any()


def test_regions_have_different_colours():
    boxes = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]])
    predicted = [("cat", 0.9, 0), ("dog", 0.8, 1)]
    picture = drawing.draw_regions(grey(640, 640), boxes, predicted)
    # The middle of each left side, away from numbers.
    first, second = (picture.getpixel(place) for place in ((65, 160), (321, 450)))
    assert first != second
    assert len(set(first)) > 1
    assert len(set(second)) > 1


def test_labels_of_one_region_share_its_box():
    one = drawing.draw_regions(grey(96, 96), LOWER_LEFT, [("cat", 0.9, 0)])
    two = drawing.draw_regions(
        grey(96, 96), LOWER_LEFT, [("cat", 0.9, 0), ("dog", 0.8, 0)]
    )
    np.testing.assert_array_equal(np.asarray(one)[:640], np.asarray(two)[:640])
    assert (np.asarray(one)[640:].shape != np.asarray(two)[640:].shape) or (
        np.asarray(one)[640:] != np.asarray(two)[640:]
    ).any()


def test_numbers_of_regions_at_the_same_place_do_not_overlap():
    boxes = np.tile(LOWER_LEFT, (3, 1))
    predicted = [("cat", 0.9, 0), ("dog", 0.8, 1), ("cow", 0.7, 2)]
    picture = drawing.draw_regions(grey(640, 640), boxes, predicted)
    pixels = np.asarray(picture)[:640].reshape(-1, 3)
    legend = np.asarray(picture)[640:].reshape(-1, 3)
    palette = {c for c in map(tuple, legend.tolist()) if max(c) - min(c) > 100}
    areas = {c: (legend == c).all(1).sum() for c in palette}
    # A tag is a solid square, so its colour is as frequent on the image as below it.
    for colour in sorted(areas, key=areas.get)[-3:]:
        assert (pixels == colour).all(1).sum() >= areas[colour]


def test_boxes_beyond_the_image_and_without_area_can_be_drawn():
    boxes = np.array([[-1, -1, 2, 2], [0.5, 0.5, 0.5, 0.5], [1, 1, 1, 1], [0, 0, 0, 0]])
    predicted = [(str(region), 0.5, region) for region in range(4)]
    picture = drawing.draw_regions(grey(30, 50), boxes, predicted)
    assert drawn(picture)[0, :640].all()


def test_more_regions_than_colours_can_be_drawn():
    boxes = np.tile(LOWER_LEFT, (20, 1))
    predicted = [(f"label {region}", 0.5, region) for region in range(20)]
    assert drawing.draw_regions(grey(40, 40), boxes, predicted).height > 640


def test_a_name_too_long_for_the_legend_is_shortened_and_keeps_its_probability():
    short, long = (
        drawing.draw_regions(grey(40, 40), LOWER_LEFT, [(name, 0.25, 0)])
        for name in ("n" * 300, "n" * 400)
    )
    assert short.size == long.size
    np.testing.assert_array_equal(np.asarray(short), np.asarray(long))
    other = drawing.draw_regions(grey(40, 40), LOWER_LEFT, [("n" * 300, 0.75, 0)])
    assert (np.asarray(other) != np.asarray(short)).any()


def test_plain_boxes_are_all_drawn_in_one_colour_at_their_fractions():
    boxes = np.concatenate([LOWER_LEFT, [[0.1, 0.5, 0.3, 0.9]]])
    picture = drawing.draw_boxes(grey(200, 200), boxes, drawing.GREEN, "two", size=400)
    inked = (np.asarray(picture) == drawing.GREEN).all(-1)
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    np.testing.assert_array_equal(rows[[0, -1]], [40, 359])
    np.testing.assert_array_equal(columns[[0, -1]], [40, 359])
    assert picture.width == 400
    assert drawn(picture)[400:].any()  # the caption


def test_the_original_image_is_not_changed():
    image = grey(640, 640)
    drawing.draw_regions(image, LOWER_LEFT, [("cat", 0.9, 0)])
    assert (image == GROUND).all()


def test_a_contact_sheet_shows_every_picture_in_reading_order():
    sizes = [(40, 30), (60, 50), (50, 60), (60, 30), (20, 20)]
    shades = [10, 20, 30, 40, 50]
    pictures = [
        Image.new("RGB", size, (shade,) * 3)
        for size, shade in zip(sizes, shades, strict=True)
    ]
    sheet = np.asarray(drawing.contact_sheet(pictures, columns=2))[..., 0]
    places = []
    for (width, height), shade in zip(sizes, shades, strict=True):
        rows, columns = np.nonzero(sheet == shade)
        assert len(rows) == width * height
        places.append((rows.min(), columns.mean()))
    assert places == sorted(places)
    assert len({row for row, _ in places}) == 3


def test_a_contact_sheet_is_no_wider_than_its_pictures():
    pictures = [Image.new("RGB", (40, 30))] * 2
    sheet = drawing.contact_sheet(pictures, columns=4)
    assert sheet.width < 3 * 40
    assert sheet.height < 2 * 30


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: drawing.draw_regions(np.zeros((4, 4, 3)), LOWER_LEFT, []),
            r"Received: float64 of shape \(4, 4, 3\)",
        ),
        (
            lambda: drawing.draw_regions(grey(4, 4), np.zeros(4), []),
            r"Received: boxes of shape \(4,\)",
        ),
        (
            lambda: drawing.draw_regions(grey(4, 4), LOWER_LEFT, [("cat", 0.9, 1)]),
            r"Received: \[1\]",
        ),
        (lambda: drawing.contact_sheet([]), "Received: 0 pictures"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_locations_are_drawn_step_by_step_with_y_down():
    # Three images at the lower left in step 1, one of them elsewhere in step 2.
    centres = np.tile([-0.9, 0.9], (3, 2, 1))
    centres[0, 1] = [2.0, -0.9]  # beyond the right border
    picture = np.asarray(drawing.draw_locations(centres, cells=4, size=40))
    assert picture.shape == (40, 84, 3)
    first, second = picture[:, :40, 0], picture[:, 44:, 0]
    dark = np.zeros((40, 40), bool)
    dark[30:, :10] = True
    np.testing.assert_array_equal(first, np.where(dark, 0, 255))
    assert second[35, 5] == 0
    assert second[5, 35] == 128  # half as many: 255 / 2, rounded to even
    assert (second == 255).sum() == 40 * 40 - 2 * 100


def test_locations_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(n, T, 2\).*\(3, 2\)"):
        drawing.draw_locations(np.zeros((3, 2)))
