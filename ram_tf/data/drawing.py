"""Draws the regions of images with the labels that they predicted, and heat maps."""

import math

import numpy as np
from PIL import Image, ImageDraw

from ram_tf.data import label_fonts

# Okabe and Ito's palette for colour-blind people (https://jfly.uni-koeln.de/color/)
# without black. It repeats from the eighth step on; regions also have numbers.
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
# Figure 5's colours of the model's regions and of the method compared with it.
GREEN, BLUE = (0, 200, 0), (40, 100, 255)
MANY_REGIONS = 16  # ours: of so many, only those that predicted a label are drawn
_BLACK, _DARK, _GREY, _WHITE = (tuple([level] * 3) for level in (0, 64, 200, 255))


def draw_regions(image, boxes, predicted, size=640, per_step=1):
    """Draws the regions of one image and the labels that each of them predicted.

    A region that predicted a label has a coloured box with its number, from 1; the
    legend below the image lists the labels with the number and colour of their regions.
    Other regions are dashed and grey, and left out if there are `MANY_REGIONS`.

    Args:
        image: `(H, W, 3)` uint8 array, the original image.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image, y down.
        predicted: A list of `(label name, probability, region index)`, drawn in this
            order; the index counts from 0.
        size: The longer side of the drawn image in pixels, at least 64. The image is
            scaled to it.
        per_step: Regions per step, which share a colour: 1, or 9 for RARL.

    Returns:
        An RGB `PIL.Image` with the legend, wider than the image if the legend needs it.
    """
    picture, corners = _scaled(image, boxes, size)
    shape = picture.size
    named = {region for _, _, region in predicted}
    if not named <= set(range(len(boxes))):
        raise ValueError(
            f"The region of a label does not exist. Expected indices below "
            f"{len(boxes)}. Received: {sorted(named)}"
        )
    draw = ImageDraw.Draw(picture)
    line = max(2, size // 200)
    font = label_fonts.font(max(11, size // 36))
    for region, box in enumerate(corners):
        if len(corners) < MANY_REGIONS and region not in named:
            _dashed_box(draw, box, line)
    for region in sorted(named):
        _solid_box(draw, corners[region], line, colour(region // per_step))
    # After all boxes, so that no box covers a number.
    taken = []
    for region in sorted(named):
        place = _free_place(corners[region], _tag_size(font), shape, taken)
        taken.append(place)
        _tag(draw, place, region, per_step, font)
    legend = _legend(predicted, max(shape[0], size // 2), font, per_step)
    joined = Image.new("RGB", (legend.width, picture.height + legend.height), _DARK)
    joined.paste(picture, ((legend.width - picture.width) // 2, 0))
    joined.paste(legend, (0, picture.height))
    return joined


def draw_boxes(image, boxes, ink, caption, size=360):
    """Draws boxes of one image in one colour, with a caption below.

    Args:
        image: `(H, W, 3)` uint8 array.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image, y down.
        ink: The red, green and blue of the boxes, 0 to 255.
        caption: The text, which is shortened to the image's width.
        size: See `draw_regions`.

    Returns:
        An RGB `PIL.Image`.
    """
    picture, corners = _scaled(image, boxes, size)
    draw = ImageDraw.Draw(picture)
    for box in corners:
        _solid_box(draw, box, max(2, size // 120), ink)
    font = label_fonts.font(max(11, size // 26))
    below = Image.new("RGB", (picture.width, picture.height + 2 * font.size), _WHITE)
    below.paste(picture, (0, 0))
    middle = picture.width / 2, picture.height + font.size
    text = _shortened(caption, "", picture.width, font)
    label_fonts.write(ImageDraw.Draw(below), middle, text, _BLACK, font, "mm")
    return below


def predicted_labels(probabilities, region_scores, label_names, threshold=0.5):
    """Returns the predicted labels of one image and the region that predicted each.

    Args:
        probabilities: `(L,)` of one image.
        region_scores: `(K, L)` of the same image.
        label_names: The L names.
        threshold: The smallest probability of a predicted label, or `(L,)` of them.

    Returns:
        A list of `(label name, probability, region index)`, the most probable first;
        the region is the one with the highest score, which Eq. 6 takes.
    """
    present = np.flatnonzero(np.asarray(probabilities) >= threshold)
    regions = np.argmax(region_scores, 0)
    order = present[np.argsort(-np.asarray(probabilities)[present], kind="stable")]
    return [(label_names[i], float(probabilities[i]), int(regions[i])) for i in order]


def draw_outputs(images, outputs, label_names, threshold=0.5, size=640, per_step=1):
    """Draws the regions of a batch, from a model's dict of arrays.

    Args:
        images: The original images, `(H, W, 3)` uint8 each.
        outputs: The model's `probabilities`, `boxes` and `region_scores`.
        label_names: The L names.
        threshold: See `predicted_labels`.
        size: See `draw_regions`.
        per_step: See `draw_regions`.

    Returns:
        A list with one picture of `draw_regions` per image.
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
            predicted_labels(probabilities, region_scores, label_names, threshold),
            size,
            per_step,
        )
        for image, boxes, probabilities, region_scores in rows
    ]


def draw_locations(centres, cells=24, size=192):
    """Draws heat maps of the regions' centres, one per step, step 1 leftmost.

    Args:
        centres: `(n, T, 2)` x and y in [-1, 1], y down, of n images; those outside are
            counted at the border.
        cells: The number of cells along an edge of a heat map.
        size: The edge of a heat map in pixels.

    Returns:
        An RGB `PIL.Image`: cells without centres are white, those with the most centres
        of a step are black.
    """
    centres = np.clip(np.asarray(centres, "float64"), -1, 1)
    if centres.ndim != 3 or centres.shape[-1] != 2:
        raise ValueError(
            "The locations cannot be drawn. Expected centres of shape (n, T, 2). "
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
    """Arranges pictures row by row in cells of the size of the largest.

    Args:
        pictures: A list of at least one `PIL.Image`, of any sizes.
        columns: The most pictures in a row.

    Returns:
        An RGB `PIL.Image`, white between the pictures.
    """
    if not pictures or columns < 1:
        raise ValueError(
            "Nothing can be arranged. Expected at least one picture and one column. "
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


def colour(step):
    """Returns the red, green and blue, 0 to 255, of the regions of a step."""
    return _COLOURS[step % len(_COLOURS)]


def _scaled(image, boxes, size):
    """Returns the image at its drawn size and its boxes in these pixels."""
    image, boxes = np.asarray(image), np.asarray(boxes, "float64")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            "The image cannot be drawn. Expected uint8 of shape (H, W, 3). "
            f"Received: {image.dtype} of shape {image.shape}"
        )
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            "The boxes are invalid. Expected shape (K, 4). "
            f"Received: boxes of shape {boxes.shape}"
        )
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(image).resize(shape, Image.Resampling.LANCZOS)
    return picture, [_pixels(box, shape) for box in boxes]


def _pixels(box, shape):
    """Returns the pixels `left, top, right, bottom` on the inside of a box."""
    width, height = shape
    top, left, bottom, right = np.clip(box, 0, 1) * (height, width, height, width)
    left, top = min(round(left), width - 1), min(round(top), height - 1)
    return left, top, max(left, round(right) - 1), max(top, round(bottom) - 1)


def _solid_box(draw, box, line, ink):
    left, top, right, bottom = box
    # A dark rim keeps the box visible on a background of the same colour.
    rim = max(1, line // 2)
    outer = left - rim, top - rim, right + rim, bottom + rim
    draw.rectangle(outer, outline=_BLACK, width=line + 2 * rim)
    draw.rectangle(box, outline=ink, width=line)


def _dashed_box(draw, box, line):
    left, top, right, bottom = box
    dash, thin = 4 * line, max(1, line // 2)
    # Light dashes on a dark line are visible on any background.
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
    """Returns a place for a box's tag that covers no earlier tag, if possible."""
    left, top, right, bottom = box
    # At the border of the picture a box may be smaller than its tag.
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
    # Dark letters on light colours, by the luma of ITU-R BT.601.
    bright = np.dot(ground, (0.299, 0.587, 0.114)) > 128
    middle = left + last / 2, top + last / 2
    draw.text(middle, str(region + 1), _BLACK if bright else _WHITE, font, anchor="mm")


def _legend(predicted, width, font, per_step):
    """Draws a tag, name and probability per label, in as many columns as fit."""
    tag, gap = _tag_size(font), font.size // 2
    room = width - tag - 3 * gap
    lines = [
        _shortened(name, f" {probability:.2f}", room, font)
        for name, probability, _ in predicted
    ]
    if not lines:
        return _empty_legend(width, tag + 2 * gap, font)
    longest = max(label_fonts.length(line, font) for line in lines)
    column = math.ceil(longest) + tag + 3 * gap
    columns = max(1, width // column)
    rows = math.ceil(len(lines) / columns)
    legend = Image.new("RGB", (width, rows * (tag + gap) + gap), _WHITE)
    draw = ImageDraw.Draw(legend)
    for index, (line, (_, _, region)) in enumerate(zip(lines, predicted, strict=True)):
        row, number = divmod(index, columns)
        left, top = number * column + gap, row * (tag + gap) + gap
        _tag(draw, (left, top), region, per_step, font)
        place = left + tag + gap, top + tag / 2
        label_fonts.write(draw, place, line, _BLACK, font, "lm")
    return legend


def _empty_legend(width, height, font):
    legend = Image.new("RGB", (width, height), _WHITE)
    draw = ImageDraw.Draw(legend)
    draw.text((font.size // 2, height / 2), "no label", _BLACK, font, anchor="lm")
    return legend


def _shortened(name, ending, room, font):
    name = label_fonts.spelled(name)
    if label_fonts.length(name + ending, font) <= room:
        return name + ending
    while name and label_fonts.length(f"{name}…{ending}", font) > room:
        name = name[:-1]
    return f"{name}…{ending}"
