r"""Writes what evaluate.py computes, and more, as one HTML page to read.

    python scripts/report.py --model_dir runs/digits --output report.html
    python scripts/report.py --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --pictures 5

Figures with intervals, precision and recall, calibration, where the regions look, what
is confused, and the best and worst pictures of each label. The page needs no network
and no JavaScript. It takes as long as evaluate.py and uses what that has kept.
"""

from ram_tf.cli import command, evaluation_flags
from ram_tf.evaluation import results
from ram_tf.evaluation.report import report


def parse(argv):
    parser = command.parser(__doc__)
    evaluation_flags.add_model_arguments(parser)
    evaluation_flags.add_arguments(parser)
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
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    views, protocol = evaluation_flags.from_arguments(arguments)
    seen, split, settings = evaluation_flags.infer_as_asked(arguments, views)
    result = results.evaluate(
        seen.outputs, split, settings, protocol, seen.about, **seen.others
    )
    title, pictures = " + ".join(arguments.model_dir), arguments.pictures
    page = report.render(seen, split, settings, result, protocol, title, pictures)
    report.write(page, arguments.output)
    print(arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
