"""Evaluates runs or an exported model on one split.

    python scripts/evaluate.py --model_dir runs/digits

It is the command `ram-tf evaluate`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.evaluate import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
