"""Measures how fast several devices train together, compared with one.

    python -m benchmarks.devices --backbone mobilenet_v2

Each setup trains in processes of its own, because the devices of a process are set
once. They take turns, so that one setup runs at a time, on batches of noise of the same
size. Without GPUs the devices share the cores of one CPU: the ratios then show what
distribution costs, not what it gains.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile

import tensorflow as tf

from benchmarks import record, timing
from benchmarks.subject import Subject
from ram_tf.cli import command, setting_flags
from ram_tf.models import backbones
from ram_tf.training.devices import Devices
from ram_tf.training.two_steps import compile_model

RATIOS = (
    timing.Ratio("two_devices_over_one", "two_devices", "one_device"),
    timing.Ratio("two_workers_over_one", "two_workers", "one_device"),
)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.devices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = tuple(backbones.BACKBONES)
    parser.add_argument("--backbone", choices=names, default="mobilenet_v2")
    parser.add_argument("--image_size", type=int, help="N; default: 512 or 320")
    parser.add_argument("--batch_size", type=int, default=8, help="%(default)s")
    parser.add_argument("--steps", type=int, default=10, help="per round; %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    record.add_output(parser)
    # Set for the processes that train.
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    setting_flags.add_devices_argument(parser)
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    if arguments.wait:
        return train(arguments)
    record.read(arguments.output)  # Fails early on a wrong file.
    flags = [*argv, "--wait"]
    with contextlib.ExitStack() as stack:
        images = arguments.steps * arguments.batch_size
        candidates = {
            name: timing.Candidate(stack.enter_context(processes(started)), images)
            for name, started in {
                "one_device": [(flags, None)],
                "two_devices": [([*flags, "--devices", "2"], None)],
                "two_workers": [(flags, text) for text in cluster(2)],
            }.items()
        }
        results = timing.measure(RATIOS, candidates, arguments.rounds)
    settings = {
        "backbone": arguments.backbone,
        "image_size": subject(arguments, "").settings.image.image_size,
        "batch_size": arguments.batch_size,
    }
    entries = {
        f"{name}_{arguments.backbone}": record.entry(
            measured, "", settings, record.machine()
        )
        for name, measured in results.items()
    }
    record.update(arguments.output, entries)
    print(record.table(entries))
    seconds = {}
    for measured in results.values():
        seconds |= measured.seconds
    for name, value in seconds.items():
        print(f"{name}: {1 / (value * arguments.batch_size):.3g} steps per second")
    return 0


def cluster(count):
    """Builds the TF_CONFIG of each of `count` workers on this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{bound.getsockname()[1]}" for bound in sockets]
    return [
        json.dumps(
            {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
        )
        for index in range(count)
    ]


@contextlib.contextmanager
def processes(started):
    """Starts processes that train together; yields a function that trains a round.

    Args:
        started: A pair of flags and TF_CONFIG (or None) for each process.
    """
    command = [sys.executable, "-m", "benchmarks.devices"]
    running = [
        subprocess.Popen(
            [*command, *flags],
            env={**os.environ, **({"TF_CONFIG": text} if text else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for flags, text in started
    ]

    def run():
        for process in running:
            process.stdin.write("train\n")
            process.stdin.flush()
        for process in running:
            if "trained\n" not in process.stdout:
                raise ChildProcessError(
                    "A training process has ended. Expected it to wait for the next "
                    f"round. Received: {' '.join(process.args)}"
                )

    try:
        yield run
    finally:
        for process in running:
            process.kill()
            process.communicate()


def subject(arguments, folder):
    """Builds the `Subject` that is trained; it writes nothing to the folder."""
    size, batch = arguments.image_size, arguments.batch_size
    return Subject.of(folder, arguments.backbone, size, batch)


def train(arguments):
    """Trains `--steps` steps for each line on stdin, then prints "trained"."""
    devices = Devices.start(arguments.devices)
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        trained = subject(arguments, folder)
    settings = trained.settings
    devices.check(settings)
    with devices.strategy.scope():
        model = trained.model
        compile_model(model, settings, settings.training.learning_rate, 1000)
        model.optimizer.build(model.trainable_variables)

    def worker_batches(context):
        size = context.get_per_replica_batch_size(settings.training.batch_size)
        batch = trained.images(settings.image.crop)[:size], trained.labels[:size]
        return tf.data.Dataset.from_tensors(batch).repeat()

    batches = devices.strategy.distribute_datasets_from_function(worker_batches)
    for _ in sys.stdin:
        model.fit(batches, steps_per_epoch=arguments.steps, verbose=0, shuffle=False)
        print("trained", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
