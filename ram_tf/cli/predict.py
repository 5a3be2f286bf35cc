r"""Predicts the labels of images and draws the region that predicted each label.

    ram-tf predict --output_dir out a.jpg
    ram-tf predict --model_dir saved_models/digits/1 --output_dir out a.jpg
    find photos -name '*.jpg' | ram-tf predict --model_dir runs/mine -
    ram-tf predict --model_dir saved_models/digits/1 \
        --url http://localhost:8501/v1/models/digits:predict a.jpg

Prints one line of JSON per image: labels, scores, and the box of each label as
[ymin, xmin, ymax, xmax] in fractions of the image. Reads JPEG and PNG, and converts
WebP, GIF (its first picture), BMP and TIFF. An image that cannot be read has "valid":
false and the reason as "error"; the others are predicted, and the status is 1.
"""

import json
import sys

from ram_tf.cli import command
from ram_tf.serving.clients import connection


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf predict")
    parser.add_argument(
        "images", nargs="+", help="files, folders, or - for file names from stdin"
    )
    parser.add_argument(
        "--model_dir",
        help="folder of a run or SavedModel, or a .onnx or .tflite file; default: the "
        "model that comes with this package",
    )
    parser.add_argument("--output_dir", help="folder for annotated PNGs; default: none")
    parser.add_argument(
        "--threshold",
        type=float,
        help="smallest probability of a predicted label; default: the label's "
        "threshold from calibration, or 0.5",
    )
    parser.add_argument(
        "--batch_size", type=int, default=8, help="images per batch; %(default)s"
    )
    connection.add_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.url and not arguments.model_dir:
        parser.error("--url needs the --model_dir of the model that the server serves")
    return arguments


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.serving import image_search, predict_files, supplied_model
    from ram_tf.serving.predictor import Predictor

    names = [path for path in arguments.images if path != "-"]
    if "-" in arguments.images:
        names += image_search.parse_list(sys.stdin.buffer.read())
    found = image_search.search(names)
    image_search.print_notes(found)
    paths = found.paths
    folder, server = arguments.model_dir, connection.from_arguments(arguments)
    if not folder:
        folder = supplied_model.newest()
        print(f"model: {folder}, which comes with ram_tf", file=sys.stderr)
    predictor = Predictor.load(folder, server)
    failed = []
    for line in predict_files.predict(
        predictor,
        paths,
        arguments.output_dir,
        arguments.threshold,
        arguments.batch_size,
        arguments.at_once,
    ):
        print(json.dumps(line), flush=True)
        if not line["valid"]:
            failed.append(line["image"])
        if "error" in line:
            print(f"{line['image']}: {line['error']}", file=sys.stderr, flush=True)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(paths)} images cannot be read or sent. Expected "
            "JPEG, PNG, WebP, GIF, BMP or TIFF files of at most "
            f"{predictor.config.data.max_pixels} pixels (the model's --max_pixels). "
            f"Received: {', '.join(failed)}"
        )
    return 0
