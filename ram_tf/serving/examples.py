"""What a run leaves to try it with: a picture, a few images, and the commands."""

import os
import pathlib
import shlex
import sys
from typing import NamedTuple

import numpy as np

from ram_tf.data.decoding import decode_image
from ram_tf.data.drawing import contact_sheet, draw_outputs
from ram_tf.data.pipelines import read_files
from ram_tf.data.split import file_names
from ram_tf.serving.predictor import Predictor
from ram_tf.storage.atomic_files import atomic_write


class Examples(NamedTuple):
    """Files that show what a run has learnt.

    Args:
        picture: Regions on a dozen images.
        npy: The bytes of these images, as `saved_model_cli run --inputs` takes them.
        image: One of these images as a file.
    """

    picture: pathlib.Path
    npy: pathlib.Path
    image: pathlib.Path


def write_examples(run, view, split, count=12):
    """Draws the regions of a split's first images, and keeps the images for trying.

    Args:
        run: The `Run`, in whose folder all is written.
        view: A `MultiView` of its trained model.
        split: The report split.
        count: How many images.

    Returns:
        The `Examples`.
    """
    split = split.take(range(min(count, len(split))))
    encoded = [bytes(image) for image in read_files(split)]
    predictor = Predictor.of(view, run)
    outputs = predictor(encoded)
    images = [decode_image(e, run.config.data.max_pixels).numpy() for e in encoded]
    drawn = draw_outputs(
        images,
        outputs,
        run.label_names,
        predictor.thresholds,
        size=360,
        per_step=run.config.regions_a_step,
    )
    names = file_names(split.names)
    samples = Examples(
        run.folder / "regions.png",
        run.folder / "image_bytes.npy",
        run.folder / "images" / names[0],
    )
    with atomic_write(samples.picture) as temporary:
        contact_sheet(drawn).save(temporary)
    with atomic_write(samples.npy) as temporary:
        # saved_model_cli reads strings of any length from an array of objects only.
        np.save(temporary, np.array(encoded, object), allow_pickle=True)
    samples.image.parent.mkdir(exist_ok=True)
    for name, content in zip(names, encoded, strict=True):
        with atomic_write(samples.image.with_name(name)) as temporary:
            temporary.write_bytes(content)
    return samples


def how_to_try(version, samples, output_dir):
    """The text at the end of training: what was made, and commands to try it with.

    Args:
        version: The folder of the SavedModel's version.
        samples: The `Examples`.
        output_dir: Where predict.py is to write.
    """
    programs = pathlib.Path(os.path.relpath(pathlib.Path(sys.executable).parent))
    # Beside the script that was called, whatever the folder it was called from.
    predict = pathlib.Path(sys.argv[0]).parent / "predict.py"
    signature = "--tag_set", "serve", "--signature_def", "serving_default"
    inputs = "--inputs", f"image_bytes={samples.npy}"
    model = "--model_dir", version, "--output_dir", output_dir
    commands = (
        (programs / "saved_model_cli", "show", "--dir", version, *signature),
        (programs / "saved_model_cli", "run", "--dir", version, *signature, *inputs),
        (programs / "python", predict, *model, samples.image),
    )
    return (
        f"\nregions on a dozen images: {samples.picture}"
        f"\nSavedModel: {version}\n\ntry next:"
        + "".join(f"\n  {shlex.join(map(str, command))}" for command in commands)
    )
