r"""Predicts the labels of many images in shards, and resumes after an interruption.

    python scripts/predict_batch.py --model_dir saved_models/digits/1 \
        --images 'photos/**.jpg' --output_dir out

It is the command `ram-tf batch`, whose `--help` explains it.
"""

from ram_tf.cli import command
from ram_tf.cli.batch import main

if __name__ == "__main__":
    raise SystemExit(command.run(main))
