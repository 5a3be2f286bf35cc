"""Exports a trained run as the next version of a SavedModel.

    python scripts/export.py --model_dir runs/digits
    python scripts/export.py --model_dir runs/digits --svm

fit.py does so at its end; this is for a run that was copied, or another place, or with
the SVMs and the views that evaluate.py --svm has fitted and stored, as NAME-svm.
"""

import argparse
import pathlib

from ram_tf import cli
from ram_tf.evaluation import Views, joint_view, svm_view
from ram_tf.export import export
from ram_tf.run import Run


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_dir",
        required=True,
        nargs="+",
        help="a run's output folder, several to look together",
    )
    parser.add_argument("--svm", action="store_true", help="with the run's SVMs")
    parser.add_argument("--name", help="of the SavedModel; default: the run's")
    parser.add_argument(
        "--saved_models", default="saved_models", help="where it is written"
    )
    parser.add_argument(
        "--warm_up",
        action="store_true",
        help="with requests that TensorFlow Serving warms up by when it loads the "
        "version (needs the extra serving)",
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    runs = [Run.open(folder) for folder in arguments.model_dir]
    name = arguments.name or runs[0].config.saved_name + "-svm" * arguments.svm
    if arguments.svm:
        view = svm_view(runs)
    elif len(runs) > 1:
        view = joint_view(runs, Views())
    else:
        view = runs[0].served_view(runs[0].load_model())
    folder = pathlib.Path(arguments.saved_models) / name
    print(export(view, runs[0], folder, arguments.warm_up))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
