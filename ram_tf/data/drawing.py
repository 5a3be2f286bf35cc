"""Pictures for people: which region spoke for which label, and how training went."""

import math
import pathlib

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Okabe and Ito's palette without black, which colour-blind people can tell apart
# (https://jfly.uni-koeln.de/color/); steps beyond the seventh begin again, and regions
# are told apart by their numbers.
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
# Figure 5's: what the model found, and what it is compared with.
GREEN, BLUE = (0, 200, 0), (40, 100, 255)
CROWD = 16  # regions from which on those that spoke for none are not drawn, ours
_BLACK, _DARK, _GREY, _WHITE = (tuple([level] * 3) for level in (0, 64, 200, 255))


def draw_regions(image, boxes, spoken, size=640, per_step=1):
    """Draws the regions of one image and names what each of them said.

    A region that spoke for a label has a coloured box with its number, from 1; below
    the image every label stands beside the number and colour of its region. Regions
    that spoke for none are dashed and grey, or left out where they would be a crowd.

    Args:
        image: `(H, W, 3)` uint8 array, the original image.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image, y down.
        spoken: A list of `(label name, probability, region index)`, drawn in this
            order; the index counts from 0.
        size: Longer side of the drawn image in pixels, at least 64. Smaller images are
            scaled up and larger ones down, so that lines and letters stay legible.
        per_step: Regions of a step, 1, or RARL's nine, which have a colour in common.

    Returns:
        An RGB `PIL.Image`, the legend below the image. It is wider than the image where
        that is too narrow for the legend.
    """
    picture, corners = _scaled(image, boxes, size)
    shape = picture.size
    named = {region for _, _, region in spoken}
    if not named <= set(range(len(boxes))):
        raise ValueError(
            f"A label names a region that is not there. Expected indices below "
            f"{len(boxes)}. Received: {sorted(named)}"
        )
    draw = ImageDraw.Draw(picture)
    line = max(2, size // 200)
    font = _font(max(11, size // 36))
    for region, box in enumerate(corners):
        if len(corners) < CROWD and region not in named:
            _dashed_box(draw, box, line)
    for region in sorted(named):
        _solid_box(draw, corners[region], line, colour(region // per_step))
    # After all boxes, so that no line runs through a number.
    taken = []
    for region in sorted(named):
        place = _free_place(corners[region], _tag_size(font), shape, taken)
        taken.append(place)
        _tag(draw, place, region, per_step, font)
    legend = _legend(spoken, max(shape[0], size // 2), font, per_step)
    joined = Image.new("RGB", (legend.width, picture.height + legend.height), _DARK)
    joined.paste(picture, ((legend.width - picture.width) // 2, 0))
    joined.paste(legend, (0, picture.height))
    return joined


def draw_boxes(image, boxes, ink, caption, size=360):
    """Draws boxes of one image in one colour, with a line of text below.

    Args:
        image: `(H, W, 3)` uint8 array.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image, y down.
        ink: Red, green and blue of the boxes, 0 to 255.
        caption: The text.
        size: See `draw_regions`.

    Returns:
        An RGB `PIL.Image`.
    """
    picture, corners = _scaled(image, boxes, size)
    draw = ImageDraw.Draw(picture)
    for box in corners:
        _solid_box(draw, box, max(2, size // 120), ink)
    font = _font(max(11, size // 26))
    below = Image.new("RGB", (picture.width, picture.height + 2 * font.size), _WHITE)
    below.paste(picture, (0, 0))
    middle = picture.width / 2, picture.height + font.size
    text = _shortened(caption, "", picture.width, font)
    ImageDraw.Draw(below).text(middle, text, _BLACK, font, anchor="mm")
    return below


def predicted_labels(probabilities, region_scores, label_names, threshold=0.5):
    """Says which labels are present and which region spoke for each.

    Args:
        probabilities: `(L,)` of one image.
        region_scores: `(K, L)` of the same image.
        label_names: The L names.
        threshold: Smallest probability of a label that is named, or `(L,)` of them.

    Returns:
        A list of `(label name, probability, region index)`, the most probable first;
        the region is the one whose score Eq. 6 took.
    """
    named = np.flatnonzero(np.asarray(probabilities) >= threshold)
    regions = np.argmax(region_scores, 0)
    order = named[np.argsort(-np.asarray(probabilities)[named], kind="stable")]
    return [(label_names[i], float(probabilities[i]), int(regions[i])) for i in order]


def draw_outputs(images, outputs, label_names, threshold=0.5, size=640, per_step=1):
    """Draws the regions of a batch, as the model's dict of arrays gives them.

    Args:
        images: The original images, `(H, W, 3)` uint8 each.
        outputs: `probabilities`, `boxes` and `region_scores` of these images.
        label_names: The L names.
        threshold: See `predicted_labels`.
        size: See `draw_regions`.
        per_step: See `draw_regions`.

    Returns:
        One picture per image, as `draw_regions` draws it.
    """
    rows = zip(
        images,
        outputs["boxes"],
        outputs["probabilities"],
        outputs["region_scores"],
        strict=True,
    )
    return [
        draw_regions(
            image,
            boxes,
            predicted_labels(present, spoken, label_names, threshold),
            size,
            per_step,
        )
        for image, boxes, present, spoken in rows
    ]


def draw_locations(centres, cells=24, size=192):
    """Draws where regions look: one heat map a step, side by side, step 1 leftmost.

    Args:
        centres: `(n, T, 2)` x and y in [-1, 1], y down, of n images; those outside are
            counted at the border.
        cells: Of an edge of a heat map.
        size: Edge of a heat map in pixels.

    Returns:
        An RGB `PIL.Image`: white where no image is looked at, black in the cell that
        most of them are looked at in that step.
    """
    centres = np.clip(np.asarray(centres, "float64"), -1, 1)
    if centres.ndim != 3 or centres.shape[-1] != 2:
        raise ValueError(
            "Cannot draw where these look. Expected centres of shape (n, T, 2). "
            f"Received: shape {centres.shape}"
        )
    gap = 4
    steps = centres.shape[1]
    sheet = Image.new("RGB", (steps * (size + gap) - gap, size), _GREY)
    for step in range(steps):
        x, y = centres[:, step].T
        counts, _, _ = np.histogram2d(y, x, cells, [[-1, 1], [-1, 1]])
        shades = 255 - 255 * counts / max(1, counts.max())
        heat = Image.fromarray(shades.round().astype("uint8"))
        heat = heat.resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(heat, (step * (size + gap), 0))
    return sheet


def contact_sheet(pictures, columns=4):
    """Arranges pictures row by row in cells of the largest one's size.

    Args:
        pictures: A list of at least one `PIL.Image`, of any sizes.
        columns: Pictures in a row; fewer where there are fewer pictures.

    Returns:
        An RGB `PIL.Image`, white between the pictures.
    """
    if not pictures or columns < 1:
        raise ValueError(
            "Nothing to arrange. Expected at least one picture and one column. "
            f"Received: {len(pictures)} pictures, columns={columns}"
        )
    columns = min(columns, len(pictures))
    gap = 8
    width = max(picture.width for picture in pictures) + gap
    height = max(picture.height for picture in pictures) + gap
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), _WHITE)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        left = gap + column * width + (width - gap - picture.width) // 2
        sheet.paste(picture, (left, gap + row * height))
    return sheet


def _font(height):
    # The one font that is surely installed, and it has Greek and Cyrillic, too.
    folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), height)


def colour(step):
    """The red, green and blue, 0 to 255, in which the regions of a step are drawn."""
    return _COLOURS[step % len(_COLOURS)]


def _scaled(image, boxes, size):
    """The image at its drawn size, and the pixels of its boxes there."""
    image, boxes = np.asarray(image), np.asarray(boxes, "float64")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            "Cannot draw on this image. Expected uint8 of shape (H, W, 3). "
            f"Received: {image.dtype} of shape {image.shape}"
        )
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            "Invalid boxes. Expected shape (K, 4). "
            f"Received: boxes of shape {boxes.shape}"
        )
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(image).resize(shape, Image.Resampling.LANCZOS)
    return picture, [_pixels(box, shape) for box in boxes]


def _pixels(box, shape):
    """A box of fractions as the pixels `left, top, right, bottom` on its inside."""
    width, height = shape
    top, left, bottom, right = np.clip(box, 0, 1) * (height, width, height, width)
    left, top = min(round(left), width - 1), min(round(top), height - 1)
    return left, top, max(left, round(right) - 1), max(top, round(bottom) - 1)


def _solid_box(draw, box, line, ink):
    left, top, right, bottom = box
    # A dark rim keeps the colour visible on a ground of the same colour.
    rim = max(1, line // 2)
    outer = left - rim, top - rim, right + rim, bottom + rim
    draw.rectangle(outer, outline=_BLACK, width=line + 2 * rim)
    draw.rectangle(box, outline=ink, width=line)


def _dashed_box(draw, box, line):
    left, top, right, bottom = box
    dash, thin = 4 * line, max(1, line // 2)
    # Dark between the light dashes, so that one of the two shows on any ground.
    draw.rectangle(box, outline=_DARK, width=thin)
    for start in range(left, right + 1, 2 * dash):
        end = min(start + dash, right)
        draw.line((start, top, end, top), _GREY, thin)
        draw.line((start, bottom, end, bottom), _GREY, thin)
    for start in range(top, bottom + 1, 2 * dash):
        end = min(start + dash, bottom)
        draw.line((left, start, left, end), _GREY, thin)
        draw.line((right, start, right, end), _GREY, thin)


def _free_place(box, tag, shape, taken):
    """Where in a box its tag covers no earlier one, if there is such a place."""
    left, top, right, bottom = box
    # Also for boxes smaller than their tag, at the border of the picture.
    most = max(0, shape[0] - tag), max(0, shape[1] - tag)
    places = [
        (min(max(x, 0), most[0]), min(max(y, 0), most[1]))
        for y in (top, bottom - tag + 1)
        for x in (left, right - tag + 1, *range(left + tag, right - tag, tag))
    ]
    free = [
        place
        for place in places
        if all(max(abs(place[0] - x), abs(place[1] - y)) >= tag for x, y in taken)
    ]
    return (free or places)[0]


def _tag_size(font):
    return round(font.size * 1.5)


def _tag(draw, place, region, per_step, font):
    """Draws a square in its step's colour with a region's number, counted from 1."""
    left, top = place
    last = _tag_size(font) - 1
    ground = colour(region // per_step)
    draw.rectangle((left, top, left + last, top + last), fill=ground, outline=_BLACK)
    # Dark letters on light colours: luma as of ITU-R BT.601.
    bright = np.dot(ground, (0.299, 0.587, 0.114)) > 128
    middle = left + last / 2, top + last / 2
    draw.text(middle, str(region + 1), _BLACK if bright else _WHITE, font, anchor="mm")


def _legend(spoken, width, font, per_step):
    """One tag, name and probability per label, in columns as the width allows."""
    tag, gap = _tag_size(font), font.size // 2
    room = width - tag - 3 * gap
    lines = [
        _shortened(name, f" {probability:.2f}", room, font)
        for name, probability, _ in spoken
    ]
    if not lines:
        return _empty_legend(width, tag + 2 * gap, font)
    column = math.ceil(max(map(font.getlength, lines))) + tag + 3 * gap
    columns = max(1, width // column)
    rows = math.ceil(len(lines) / columns)
    legend = Image.new("RGB", (width, rows * (tag + gap) + gap), _WHITE)
    draw = ImageDraw.Draw(legend)
    for index, (line, (_, _, region)) in enumerate(zip(lines, spoken, strict=True)):
        row, place = divmod(index, columns)
        left, top = place * column + gap, row * (tag + gap) + gap
        _tag(draw, (left, top), region, per_step, font)
        draw.text((left + tag + gap, top + tag / 2), line, _BLACK, font, anchor="lm")
    return legend


def _empty_legend(width, height, font):
    legend = Image.new("RGB", (width, height), _WHITE)
    draw = ImageDraw.Draw(legend)
    draw.text((font.size // 2, height / 2), "no label", _BLACK, font, anchor="lm")
    return legend


def _shortened(name, ending, room, font):
    if font.getlength(name + ending) <= room:
        return name + ending
    while name and font.getlength(f"{name}…{ending}") > room:
        name = name[:-1]
    return f"{name}…{ending}"
