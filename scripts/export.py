"""Exports a trained run as a new version of a SavedModel, or in another format.

    python scripts/export.py --model_dir runs/digits

It is the command `ram-tf export`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.export import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
