"""Compares several trainings of one model with their pooled classifiers.

    python scripts/compare.py runs/seed0 runs/seed1 runs/seed2

Prints the mAP of each and the mean difference, with the 95 % interval of a paired
bootstrap: images are drawn again, the same for all runs and both classifiers. Once over
labels with 10 positives or more, once over all. What a model said of the images is kept
in the run's folder.
"""

import argparse

from ram_tf import cli, seeds
from ram_tf.run import Run


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", help="output folders of fit.py")
    return parser.parse_args(argv)


def main(argv):
    folders = parse(argv).runs
    compared = seeds.compare([Run.open(folder) for folder in folders])
    print(seeds.table(compared, folders))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
