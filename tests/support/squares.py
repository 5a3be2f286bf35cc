"""Makes a small dataset of coloured squares on grey that models can learn."""

import json

import numpy as np
from PIL import Image


def write_squares(folder):
    """Writes a csv folder of 40 training and 16 validation images, and returns it."""
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    rng = np.random.default_rng(0)
    boxes = {}
    for split, count in (("train", 40), ("val", 16)):
        rows = ["image,labels"]
        for i in range(count):
            image = np.full((40, 40, 3), 90, np.uint8)
            present = [name for name in colours if rng.random() < 0.5] or ["red"]
            for name, corner in zip(present, rng.permutation(4), strict=False):
                y, x = 20 * (corner // 2) + 5, 20 * (corner % 2) + 5
                image[y : y + 10, x : x + 10] = colours[name]
                box = [x / 40, y / 40, (x + 10) / 40, (y + 10) / 40]
                boxes.setdefault(f"{split}{i}", []).append({"label": name, "box": box})
            Image.fromarray(image).save(folder / f"{split}{i}.png")
            rows.append(f"{split}{i}.png,{';'.join(present)}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder
