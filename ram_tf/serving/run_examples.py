"""Example files that a training run writes, and commands to try its model with."""

import os
import pathlib
import shlex
import sys
from typing import NamedTuple

import numpy as np

from ram_tf.data.drawing import contact_sheet, draw_outputs
from ram_tf.data.image_bytes import read_files
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.split import file_names
from ram_tf.serving.predictor import Predictor
from ram_tf.storage.atomic_files import atomic_write


class Examples(NamedTuple):
    """Example files of a run.

    Args:
        picture: PNG with the predicted regions of a dozen images.
        npy: The bytes of these images, as `saved_model_cli run --inputs` takes them.
        image: One of these images as a file.
    """

    picture: pathlib.Path
    npy: pathlib.Path
    image: pathlib.Path


def write_examples(run, view, split, count=12):
    """Draws the regions of a split's first images, and copies these images.

    Args:
        run: The `Run`, whose folder the files are written to.
        view: A `MultiView` of its trained model.
        split: The `Split` that the run is evaluated on.
        count: Number of images.

    Returns:
        The `Examples`.
    """
    split = split.take(range(min(count, len(split))))
    encoded = [bytes(image) for image in read_files(split)]
    predictor = Predictor.of(view, run)
    outputs = predictor(encoded)
    limits = run.config.data.max_pixels, run.config.data.truncated
    images = [decode_image(each, *limits).numpy() for each in encoded]
    drawn = draw_outputs(
        images,
        outputs,
        run.label_names,
        predictor.thresholds,
        size=360,
        per_step=run.config.regions_a_step,
    )
    names = file_names(split.names)
    examples = Examples(
        picture=run.folder / "regions.png",
        npy=run.folder / "image_bytes.npy",
        image=run.folder / "images" / names[0],
    )
    with atomic_write(examples.picture) as temporary:
        contact_sheet(drawn).save(temporary)
    with atomic_write(examples.npy) as temporary:
        # saved_model_cli reads strings of different lengths only from object arrays.
        np.save(temporary, np.array(encoded, object), allow_pickle=True)
    examples.image.parent.mkdir(exist_ok=True)
    for name, content in zip(names, encoded, strict=True):
        with atomic_write(examples.image.with_name(name)) as temporary:
            temporary.write_bytes(content)
    return examples


def how_to_try(version, examples, output_dir):
    """Makes the text at the end of training: the files written, and commands to try.

    Args:
        version: The version folder of the SavedModel.
        examples: The `Examples`.
        output_dir: Output folder in the command of `predict`.
    """
    programs = pathlib.Path(os.path.relpath(pathlib.Path(sys.executable).parent))
    signature = "--tag_set", "serve", "--signature_def", "serving_default"
    inputs = "--inputs", f"image_bytes={examples.npy}"
    model = "--model_dir", version, "--output_dir", output_dir
    commands = (
        (programs / "saved_model_cli", "show", "--dir", version, *signature),
        (programs / "saved_model_cli", "run", "--dir", version, *signature, *inputs),
        (*_predict_command(programs), *model, examples.image),
    )
    return (
        f"\nregions on a dozen images: {examples.picture}"
        f"\nSavedModel: {version}\n\ntry next:"
        + "".join(f"\n  {shlex.join(map(str, command))}" for command in commands)
    )


def _predict_command(programs):
    """Returns the words that start `predict` in the way that this process was."""
    door = pathlib.Path(sys.argv[0])
    if door.stem == "ram-tf":
        return (os.path.relpath(door), "predict")
    # In the folder of the running script, whatever the current folder is.
    script = door.parent / "predict.py"
    if door.name != "__main__.py" and script.is_file():
        return (programs / "python", script)
    return (programs / "python", "-m", "ram_tf", "predict")
