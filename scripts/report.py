r"""Writes what evaluate.py computes, and more, as one HTML page to read.

    python scripts/report.py --model_dir runs/digits --output report.html
    python scripts/report.py --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --pictures 5

Figures with intervals, precision and recall, calibration, where the regions look, what
is confused, and the best and worst pictures of each label. The page needs no network
and no JavaScript. It takes as long as evaluate.py and uses what that has kept.
"""

import argparse
import pathlib

from ram_tf import cli, config, evaluation, report, run_splits
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
    parser.add_argument("--output", default="report.html", help="%(default)s")
    parser.add_argument(
        "--pictures",
        type=int,
        choices=range(1, 11),
        default=3,
        metavar="N",
        help="most of a label in a row: with it and surest, with it and least sure, "
        "without it and surest; at most 10; %(default)s",
    )
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
    see = evaluation.see_runs if is_run else evaluation.see_served
    seen = see(models, split, settings, views)
    result = evaluation.evaluate(
        seen.outputs, split, settings, protocol, seen.about, **seen.others
    )
    title, pictures = " + ".join(folders), arguments.pictures
    page = report.render(seen, split, settings, result, protocol, title, pictures)
    report.write(page, arguments.output)
    print(arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
