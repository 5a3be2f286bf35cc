"""Serves a web page that shows the labels of an image and the region of each label.

    python scripts/demo.py

It is the command `ram-tf web`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.web import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
