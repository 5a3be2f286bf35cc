"""Shows the labels and regions of two photographs, by the model that comes along.

    ram-tf demo
    ram-tf demo --output_dir out

It needs no training and no network. `predict` does the same with your own pictures, and
`web` in a browser.
"""

import pathlib

from ram_tf.cli import command


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf demo")
    parser.add_argument(
        "--output_dir",
        default="runs/demo",
        help="folder for the pictures with regions; %(default)s",
    )
    return parser.parse_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.serving import predict_files, supplied_model
    from ram_tf.serving.predictor import Predictor
    from ram_tf.storage import atomic_files

    folder = supplied_model.newest()
    atomic_files.check_writable(arguments.output_dir)
    predictor = Predictor.load(folder)
    print(f"model: {folder}, {len(predictor.label_names)} labels")
    for line in predict_files.predict(
        predictor, supplied_model.pictures(), arguments.output_dir
    ):
        labels = [f"{x} ({line['probabilities'][x]:.2f})" for x in line["labels"]]
        print(
            f"\n{pathlib.Path(line['image']).name}: {', '.join(labels) or 'no label'}"
        )
        print(f"  regions: {line['picture']}")
    print("\ntry your own: ram-tf predict --output_dir out photo.jpg")
    return 0
