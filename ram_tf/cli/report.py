r"""Writes the results of `evaluate` and more as one HTML page.

    ram-tf report --model_dir runs/digits --output report.html
    ram-tf report --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --pictures 5

The page shows metrics with confidence intervals, precision and recall, calibration,
locations of regions, confused labels, the best and worst images of each label, and a
run's learning curves. It needs no network and no JavaScript. Predictions that
`evaluate` has kept are reused.
"""

from ram_tf.cli import command, evaluation_flags


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf report")
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
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.evaluation.report import report
    from ram_tf.runs import learning_curves

    inferred, split, settings, protocol, result = evaluation_flags.evaluate(arguments)
    title, pictures = " + ".join(arguments.model_dir), arguments.pictures
    curves = [
        (folder, png)
        for folder in arguments.model_dir
        if (png := learning_curves.draw_run(folder))
    ]
    page = report.render(
        inferred, split, settings, result, protocol, title, pictures, curves
    )
    report.write(page, arguments.output)
    print(arguments.output)
    return 0
