"""Checks a dataset before training: counts, unreadable images, duplicates and boxes.

    python scripts/check.py --dataset csv --data_dir MINE

It is the command `ram-tf check`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.check import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
