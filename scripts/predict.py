r"""Predicts the labels of images and draws the region that predicted each label.

    python scripts/predict.py --model_dir saved_models/digits/1 --output_dir out a.jpg
    find photos -name '*.jpg' | python scripts/predict.py --model_dir runs/mine -
    python scripts/predict.py --model_dir saved_models/digits/1 \
        --url http://localhost:8501/v1/models/digits:predict a.jpg

Prints one line of JSON per image: labels, scores, and the box of each label as
[ymin, xmin, ymax, xmax] in fractions of the image.
"""

import json
import sys

from ram_tf.cli import command
from ram_tf.serving import predict_files
from ram_tf.serving.clients import connection
from ram_tf.serving.predictor import Predictor


def parse(argv):
    parser = command.parser(__doc__)
    parser.add_argument(
        "images", nargs="+", help="files, folders, or - for file names from stdin"
    )
    parser.add_argument(
        "--model_dir",
        required=True,
        help="folder of a run or SavedModel, or a .onnx or .tflite file",
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
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    names = [path for path in arguments.images if path != "-"]
    if "-" in arguments.images:
        names += [line.rstrip("\n") for line in sys.stdin if line.strip()]
    paths = predict_files.find_images(names)
    folder, server = arguments.model_dir, connection.from_arguments(arguments)
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
            f"JPEG or PNG files of at most {predictor.config.data.max_pixels} pixels. "
            f"Received: {', '.join(failed)}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
