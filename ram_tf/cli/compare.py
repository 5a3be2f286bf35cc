"""Compares runs of one model with their baselines, the pooled classifiers.

    ram-tf compare runs/seed0 runs/seed1 runs/seed2
    ram-tf compare runs/seed0 runs/seed1 runs/seed2 --baseline runs/longer

Prints the mAP of each run and the mean difference with the 95 % confidence interval of
a paired bootstrap, which draws the same images for all runs and both classifiers: for
labels with 10 or more positives, and for all labels. Then prints the region metrics of
each run, with mean and sample standard deviation. Predictions are kept in the run's
folder.

--baseline is a step 1 trained for as many epochs as both steps together:

    ram-tf fit ... --pooled_epochs 24 --pooled_only --output_dir runs/longer

Each run is compared with the better of the two pooled classifiers.
"""

from ram_tf.cli import command


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf compare")
    parser.add_argument("runs", nargs="+", help="output folders of fit")
    parser.add_argument(
        "--baseline",
        metavar="RUN",
        help="run whose pooled classifier is used if its mAP is higher than that of "
        "the compared run",
    )
    return parser.parse_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.evaluation import compare_seeds
    from ram_tf.runs.run import Run

    baseline = Run.open(arguments.baseline) if arguments.baseline else None
    runs = [Run.open(folder) for folder in arguments.runs]
    compared = compare_seeds.compare(runs, baseline)
    print(compare_seeds.table(compared, arguments.runs, arguments.baseline))
    return 0
