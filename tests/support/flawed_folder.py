"""Makes a csv folder with known faults, for tests of the check before training."""

import json

from tests.support.image_files import encode
from tests.support.textures import texture

ROWS = {
    "train": ["cat", "dog", "cat;dog", "", "cat", "dog", "cat", "dog", "cat", "dog"],
    "val": ["cat", "cat", "", "cat"],
    "test": ["dog", "cat", "", "cat;dog", "dog"],
}


def write_flawed(folder):
    """Writes the folder, and returns it.

    `test1.jpg` is the file `train2.jpg`, `test2.jpg` is `train4.jpg` in half its size,
    `val3.jpg` is like `train0.jpg`, "fox" has no positives, two boxes leave their image
    and one is empty.
    """
    (folder / "labels.txt").write_text("cat\ndog\nfox\n")
    for split, cells in ROWS.items():
        lines = ["image,labels"]
        lines += [f"{split}{i}.jpg,{cell}" for i, cell in enumerate(cells)]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
        for i in range(len(cells)):
            image = texture(1000 * len(cells) + i)
            write(folder / f"{split}{i}.jpg", image, 90)
    (folder / "test1.jpg").write_bytes((folder / "train2.jpg").read_bytes())
    write(folder / "test2.jpg", texture(10004).resize((80, 60)), 90)
    write(folder / "val3.jpg", texture(10000), 50)
    boxes = {
        "train0": [[0.1, 0.1, 0.5, 0.5], [-0.2, 0.1, 0.5, 0.5]],
        "train1": [[0.1, 0.1, 0.1, 0.5]],
        "test0": [[0.0, 0.0, 1.0, 1.3], [0.0, 0.0, 1.0, 1.0]],
    }
    named = {
        image: [{"label": "dog", "box": box} for box in found]
        for image, found in boxes.items()
    }
    (folder / "boxes.json").write_text(json.dumps(named))
    return folder


def write(path, image, quality):
    path.write_bytes(encode(image, "JPEG", quality=quality))


def break_files(folder):
    """Makes `train3.jpg` empty and `val0.jpg` a text."""
    (folder / "train3.jpg").write_bytes(b"")
    (folder / "val0.jpg").write_text("no image")
