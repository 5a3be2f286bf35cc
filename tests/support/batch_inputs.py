"""Makes a small SavedModel, and batches of images of which some cannot be read."""

import json
import pathlib

from ram_tf.data.images.header_checks import PNG_START
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.formats.export import export
from tests.support.small_settings import SMALL

# The PNG header of an image of 60,000 x 60,000 pixels.
HUGE = PNG_START + 2 * (60_000).to_bytes(4, "big") + b"\x08\2\0\0\0"
REASONS = {
    "text.png": "unreadable",
    "empty.png": "empty",
    "huge.png": "too many pixels",
    "none.png": "missing",
    "folder.png": "reading error",
}


def write_model(squares, folder):
    """Exports an untrained model, and returns its version's folder."""
    settings = SMALL.replace(data_dir=str(squares))
    run = Run.start(folder / "run", settings, ("blue", "green", "red"))
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    run_models.build_attention(run, pooled).save_weights(run.model_weights)
    return export(
        run_models.view(run, run_models.load_attention(run)), run, folder / "saved"
    )


def write_broken(folder):
    """Writes the unreadable files of `REASONS`, and returns their paths."""
    (folder / "text.png").write_bytes(b"this is text")
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(HUGE + bytes(20))
    (folder / "folder.png").mkdir()
    return [str(folder / name) for name in REASONS]


def mixed(squares, broken):
    """Returns 16 images, the first of them twice, mixed with the broken ones."""
    images = [str(squares / f"val{i}.png") for i in range(16)]
    return [images[0], *broken[:2], *images[1:9], *broken[2:], *images[9:], images[0]]


def arguments(version, images, folder, *more):
    """Writes the list of images, and returns the arguments of predict_batch.py."""
    folder = pathlib.Path(folder)
    listed = folder.with_name(f"{folder.name}.txt")
    listed.write_text("\n".join(images))
    return [
        *("--model_dir", str(version), "--list", str(listed)),
        *("--output_dir", str(folder), "--shard_size", "6", "--batch_size", "4", *more),
    ]


def lines(folder, kind):
    """Reads the records (`part`) or the images without one (`unread`), in order."""
    return [
        json.loads(line)
        for path in sorted(folder.glob(f"{kind}-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
