"""Repeats one of the paper's comparisons (section 5.3) on any dataset.

    python scripts/ablate.py --table 4

It is the command `ram-tf ablate`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.ablate import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
