"""Writes the results of `evaluate` and more as one HTML page.

    python scripts/report.py --model_dir runs/digits

It is the command `ram-tf report`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.report import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
