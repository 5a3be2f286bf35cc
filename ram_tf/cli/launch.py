"""Starts a training run's workers on this machine, and restarts them if one is lost.

    ram-tf launch --workers 2 fit --dataset csv --data_dir mine --output_dir runs/mine

The flags after `fit` are its own. All workers share each batch; worker 1 validates and
writes. When one is killed, all are started again with --resume, and the run ends as an
undisturbed one. GPUs that CUDA_VISIBLE_DEVICES lists are divided among the workers. For
several GPUs of one machine `fit --devices` is faster; for several machines start `fit`
on each with TF_CONFIG.
"""

import argparse
import sys

from ram_tf.cli import command


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf launch")
    parser.add_argument(
        "--workers", type=int, default=2, help="number of processes [%(default)s]"
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=3,
        help="restarts after a worker was lost [%(default)s]",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="fit, and its flags")
    arguments = parser.parse_args(argv)
    if arguments.workers < 2:
        parser.error("--workers: must be 2 or more; for one, use ram-tf fit")
    if arguments.restarts < 0:
        parser.error("--restarts: must be 0 or more")
    if arguments.command[:1] != ["fit"]:
        parser.error("expected `fit` and its flags after those of launch")
    return arguments


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    from ram_tf.training.local_workers import LocalWorkers

    return LocalWorkers(
        [sys.executable, "-m", "ram_tf", *arguments.command],
        arguments.workers,
        arguments.restarts,
        ["--resume"],
    ).run()
