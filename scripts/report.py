r"""Writes the results of evaluate.py and more as one HTML page.

    python scripts/report.py --model_dir runs/digits --output report.html
    python scripts/report.py --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --pictures 5

The page shows metrics with confidence intervals, precision and recall, calibration,
locations of regions, confused labels, and the best and worst images of each label. It
needs no network and no JavaScript. Predictions that evaluate.py has kept are reused.
"""

from ram_tf.cli import command, evaluation_flags
from ram_tf.evaluation import results
from ram_tf.evaluation.report import report


def parse(argv):
    parser = command.parser(__doc__)
    evaluation_flags.add_model_arguments(parser)
    evaluation_flags.add_arguments(parser)
    parser.add_argument("--output", default="report.html", help="file; %(default)s")
    parser.add_argument(
        "--pictures",
        type=int,
        choices=range(1, 11),
        default=3,
        metavar="N",
        help="most images per row of a label: positives with the highest and the "
        "lowest scores, negatives with the highest ones; 1 to 10; %(default)s",
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    views, protocol = evaluation_flags.from_arguments(arguments)
    inferred, split, settings = evaluation_flags.run_inference(arguments, views)
    result = results.evaluate(
        inferred.outputs, split, settings, protocol, inferred.about, **inferred.others
    )
    title, pictures = " + ".join(arguments.model_dir), arguments.pictures
    page = report.render(inferred, split, settings, result, protocol, title, pictures)
    report.write(page, arguments.output)
    print(arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
