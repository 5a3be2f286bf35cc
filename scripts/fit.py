"""Trains a model, evaluates it, draws its regions and exports it.

    python scripts/fit.py --dataset coco

It is the command `ram-tf fit`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.fit import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
