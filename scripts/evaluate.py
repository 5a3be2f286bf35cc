r"""Evaluates a run or a SavedModel on one split: single view, centre crop.

    python scripts/evaluate.py --model_dir runs/digits
    python scripts/evaluate.py --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --output result.json

Prints the table of figures, for a run also those of its pooled classifier, and writes
them as JSON.
"""

import argparse
import dataclasses
import pathlib

from ram_tf import cli, datasets, evaluation, run_splits
from ram_tf.prediction import Predictor
from ram_tf.run import Run


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_dir", required=True, help="a run's output folder, or a SavedModel's"
    )
    parser.add_argument(
        "--dataset", choices=datasets.NAMES, help="default: the one it was trained on"
    )
    parser.add_argument("--data_dir", help="its folder; default: as in training")
    parser.add_argument("--split", help="default: the one of the run's report")
    parser.add_argument("--output", help="file of the figures, as JSON")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="smallest probability; %(default)s"
    )
    parser.add_argument(
        "--top_k",
        type=int,
        default=3,
        help="labels an image at most; 0: any number; %(default)s",
    )
    parser.add_argument(
        "--skip_unreadable", action="store_true", help="leave out what cannot be read"
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    is_run = (pathlib.Path(arguments.model_dir) / "config.json").is_file()
    model = (Run.open if is_run else Predictor.load)(arguments.model_dir)
    given = {
        name: getattr(arguments, name)
        for name in ("dataset", "data_dir", "skip_unreadable")
        if getattr(arguments, name)
    }
    settings = dataclasses.replace(model.config, **given)
    split = run_splits.load_report(settings, arguments.split, model.label_names)
    evaluate = evaluation.evaluate_run if is_run else evaluation.evaluate_served
    result = evaluate(
        model, split, settings, arguments.threshold, arguments.top_k or None
    )
    print(evaluation.table(result))
    if arguments.output:
        evaluation.write(result, arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
