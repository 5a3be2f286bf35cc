"""Exports a trained run as the next version of a SavedModel.

    python scripts/export.py --model_dir runs/digits

fit.py does so at its end; this is for a run that was copied, or another place.
"""

import argparse
import pathlib

from ram_tf import cli
from ram_tf.export import export
from ram_tf.run import Run


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_dir", required=True, help="a run's output folder")
    parser.add_argument("--name", help="of the SavedModel; default: the run's")
    parser.add_argument(
        "--saved_models", default="saved_models", help="where it is written"
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    run = Run.open(arguments.model_dir)
    name = arguments.name or run.config.saved_name
    print(export(run.load_model(), run, pathlib.Path(arguments.saved_models) / name))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
