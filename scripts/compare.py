"""Compares runs of one model with their baselines, the pooled classifiers.

    python scripts/compare.py runs/seed0 runs/seed1

It is the command `ram-tf compare`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.compare import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
