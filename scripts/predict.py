"""Predicts the labels of images and draws the region that predicted each label.

    python scripts/predict.py --model_dir saved_models/digits/1 a.jpg

It is the command `ram-tf predict`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.predict import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
