"""Compares several trainings of one model with their pooled classifiers.

    python scripts/compare.py runs/seed0 runs/seed1 runs/seed2
    python scripts/compare.py runs/seed0 runs/seed1 runs/seed2 --baseline runs/longer

Prints the mAP of each and the mean difference, with the 95 % interval of a paired
bootstrap: images are drawn again, the same for all runs and both classifiers. Once over
labels with 10 positives or more, once over all. Then what the regions of each are
judged by, the mean, and the standard deviation over the runs (of a sample). What a
model said of the images is kept in the run's folder.

The baseline is step 1 trained on for as many epochs as both steps have:

    python scripts/fit.py ... --pooled_epochs 24 --pooled_only --output_dir runs/longer

A gain over a weak baseline is none: the better of the two pooled classifiers counts.
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
        help="another one: its pooled classifier counts where its mAP is higher than "
        "that of a run's own",
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    baseline = arguments.baseline and Run.open(arguments.baseline)
    runs = [Run.open(folder) for folder in arguments.runs]
    compared = compare_seeds.compare(runs, baseline)
    print(compare_seeds.table(compared, arguments.runs, arguments.baseline))
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
