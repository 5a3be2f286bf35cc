"""Compares runs of one model with their baselines, the pooled classifiers.

    python scripts/compare.py runs/seed0 runs/seed1 runs/seed2
    python scripts/compare.py runs/seed0 runs/seed1 runs/seed2 --baseline runs/longer

Prints the mAP of each run and the mean difference with the 95 % confidence interval of
a paired bootstrap, which draws the same images for all runs and both classifiers: for
labels with 10 or more positives, and for all labels. Then prints the region metrics of
each run, with mean and sample standard deviation. Predictions are kept in the run's
folder.

--baseline is a step 1 trained for as many epochs as both steps together:

    python scripts/fit.py ... --pooled_epochs 24 --pooled_only --output_dir runs/longer

Each run is compared with the better of the two pooled classifiers.
"""

from ram_tf.cli import command
from ram_tf.evaluation import compare_seeds
from ram_tf.runs.run import Run


def parse(argv):
    parser = command.parser(__doc__)
    parser.add_argument("runs", nargs="+", help="output folders of fit.py")
    parser.add_argument(
        "--baseline",
        metavar="RUN",
        help="run whose pooled classifier is used if its mAP is higher than that of "
        "the compared run",
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    baseline = Run.open(arguments.baseline) if arguments.baseline else None
    runs = [Run.open(folder) for folder in arguments.runs]
    compared = compare_seeds.compare(runs, baseline)
    print(compare_seeds.table(compared, arguments.runs, arguments.baseline))
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
