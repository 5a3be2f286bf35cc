r"""Evaluates runs or a SavedModel on one split.

    python scripts/evaluate.py --model_dir runs/digits
    python scripts/evaluate.py --model_dir runs/voc --views 10 --svm --output r.json
    python scripts/evaluate.py --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --protocol mlgcn

Prints the table of figures, for a run also those of its pooled classifier, and writes
them as JSON.
"""

import argparse
import pathlib

from ram_tf import cli, config, evaluation, run_splits
from ram_tf.prediction import Predictor
from ram_tf.run import Run


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_dir",
        required=True,
        nargs="+",
        help="a run's output folder, several to look together, or a SavedModel's",
    )
    parser.add_argument("--split", help="default: the one of the run's report")
    parser.add_argument("--output", help="file of the figures, as JSON")
    evaluation.add_arguments(parser)
    config.add_data_arguments(parser)
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    views, protocol = evaluation.from_arguments(arguments)
    folders = arguments.model_dir
    is_run = (pathlib.Path(folders[0]) / "config.json").is_file()
    models = [(Run.open if is_run else Predictor.load)(folder) for folder in folders]
    settings = config.with_data(models[0].config, arguments)
    split = run_splits.load_report(settings, arguments.split, models[0].label_names)
    if is_run:
        result = evaluation.evaluate_runs(models, split, settings, views, protocol)
    else:
        result = evaluation.evaluate_served(models, split, settings, views, protocol)
    print(evaluation.table(result))
    if arguments.output:
        evaluation.write(result, arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
