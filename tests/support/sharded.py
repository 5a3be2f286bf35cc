"""A csv folder with images of all kinds, and its shards."""

import json

import PIL.Image

from ram_tf.runs.config import Config
from ram_tf.runs.splits import sharding
from tests.support.image_files import encode
from tests.support.textures import texture

CELLS = ["cat", "dog;?cat", "cat;dog", "", "?dog", "dog", "cat"]
COUNTS = {"train": 14, "val": 5, "test": 5}


def write_mixed(folder):
    """Writes the folder, and returns it.

    There are JPEGs of several sizes and PNGs, one photograph that EXIF turns and one
    with zeros behind its end; unknown labels, boxes, and names that are not ASCII.
    """
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    number, boxes = 0, {}
    for split, count in COUNTS.items():
        lines = ["image,labels"]
        for i in range(count):
            number += 1
            image = texture(number).resize((60 + 3 * i, 50 + 2 * number))
            options = {"exif": exif} if i == 2 else {}
            name = f"{split}/grün {i}.{'png' if i == 1 else 'jpg'}"
            form = "PNG" if i == 1 else "JPEG"
            (folder / split).mkdir(parents=True, exist_ok=True)
            end = bytes(5) if i == 3 else b""
            (folder / name).write_bytes(encode(image, form, **options) + end)
            lines.append(f"{name},{CELLS[i % len(CELLS)]}")
            if i % 2:
                found = [{"label": "dog", "box": [0.1, 0.2, 0.3, 0.05 * (i + 5)]}] * 2
                found.append({"label": "cat", "box": [0.0, 0.0, 1.0, 1 / 3]})
                boxes[name] = found
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "boxes.json").write_text(json.dumps(boxes), "utf-8")
    return folder


def settings_of(source, dataset="csv", **changes):
    return Config.of(dataset=dataset, data_dir=str(source), **changes)


def write_shards(source, folder, shard_bytes=20_000, **changes):
    """Writes the shards of a csv folder, and returns the settings to read them."""
    sharding.write(settings_of(source, **changes), folder, shard_bytes)
    return settings_of(folder, "shards", **changes)
