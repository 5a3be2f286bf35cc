r"""Predicts the labels of many images in shards, and resumes after an interruption.

    ram-tf batch --model_dir saved_models/digits/1 \
        --images 'photos/**.jpg' --output_dir out
    find photos -name '*.jpg' | ram-tf batch --list - \
        --model_dir saved_models/digits/1 --output_dir out --format parquet \
        --direct_num_workers 2 --direct_running_mode multi_processing
    ram-tf batch --engine ray --address 10.0.0.1:6379 \
        --model_dir saved_models/digits/1 --images 'photos/**.jpg' --output_dir out

It runs on Apache Beam, to which other flags than these are passed (--runner ...), or as
actors of a Ray cluster. Each shard becomes a part- file of predictions and an unread-
file of the images that cannot be read, with the reason. Started again, it skips
finished shards.
"""

import sys

from ram_tf.cli import command

ENGINES = ("beam", "ray")


def parse(argv):
    """Returns the parsed flags, and those for Beam."""
    parser = command.parser(__doc__, prog="ram-tf batch", allow_abbrev=False)
    parser.add_argument("--images", nargs="+", default=[], help="paths, globs too")
    parser.add_argument("--list", help="file with one path per line; - for stdin")
    parser.add_argument("--model_dir", required=True, help="SavedModel's folder")
    parser.add_argument("--output_dir", required=True, help="folder of the shards")
    parser.add_argument(
        "--format", default="jsonl", help="jsonl, tfrecord or parquet; %(default)s"
    )
    parser.add_argument(
        "--shard_size", type=int, default=1000, help="images per shard; %(default)s"
    )
    parser.add_argument(
        "--batch_size", type=int, default=32, help="images per batch; %(default)s"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="smallest probability of a predicted label; default: the label's "
        "threshold from calibration, or 0.5",
    )
    parser.add_argument("--engine", choices=ENGINES, default="beam", help="%(default)s")
    of_ray = _add_flags_of_ray(parser)
    arguments, flags = parser.parse_known_args(argv)
    if arguments.batch_size < 1:
        parser.error("--batch_size is 1 or more")
    if arguments.engine == "ray":
        parser.parse_args(argv)  # refuses the flags that it does not know
        _check(parser, arguments)
        return arguments, flags
    for action in of_ray:
        if getattr(arguments, action.dest) != action.default:
            parser.error(f"{action.option_strings[0]} is for --engine ray only")
    return arguments, flags


def _add_flags_of_ray(parser):
    group = parser.add_argument_group("with --engine ray")
    return [
        group.add_argument(
            "--address",
            help="cluster's address, or local for a new one; default: this machine's "
            "cluster, or a new one",
        ),
        group.add_argument(
            "--num_cpus", type=float, default=1, help="CPUs of an actor; %(default)s"
        ),
        group.add_argument(
            "--num_gpus",
            type=float,
            default=0,
            help="GPUs of an actor, 0.5 for half of one; %(default)s",
        ),
        group.add_argument(
            "--concurrency",
            type=int,
            nargs="+",
            default=[1, None],
            metavar="N",
            help="number of actors, or the smallest and the largest; default: from 1 "
            "to as many as there is room for",
        ),
    ]


def _check(parser, arguments):
    if arguments.num_cpus < 0 or arguments.num_gpus < 0:
        parser.error("--num_cpus and --num_gpus cannot be negative")
    smallest, largest = arguments.concurrency[0], arguments.concurrency[-1]
    if (
        len(arguments.concurrency) > 2
        or smallest < 1
        or (largest or smallest) < smallest
    ):
        parser.error("--concurrency is one number, or a smaller and a larger one")
    arguments.concurrency = [smallest, largest]


def main(argv):
    """Runs the command and returns its exit status."""
    arguments, flags = parse(argv)
    # Imported here so that `command.run` reports a missing extra in one line.
    from ram_tf.serving.batch import batch_folder, batch_progress

    if arguments.engine == "ray":
        predict = _with_ray(arguments)
    else:
        predict = _with_beam(arguments, flags)
    lines = []
    if arguments.list:
        lines = batch_folder.read_list(arguments.list, sys.stdin.buffer)
    batch = batch_folder.Batch.open(
        arguments.output_dir,
        batch_folder.list_images(arguments.images, lines),
        arguments.model_dir,
        arguments.format,
        arguments.shard_size,
        arguments.threshold,
    )
    todo = batch.unfinished()
    print(f"{len(batch.shards) - len(todo)} of {len(batch.shards)} shards are finished")
    with batch_progress.bar(batch, todo):
        predict(batch)
    batch.remove_incomplete()
    print(batch_progress.table(batch, todo))
    return 0


def _with_beam(arguments, flags):
    """Returns the function that predicts a batch with Beam."""
    from ram_tf.serving.batch import beam_pipeline

    options = beam_pipeline.pipeline_options(flags)
    handler = beam_pipeline.SavedModelHandler(*_predictor(arguments))
    return lambda batch: beam_pipeline.run(batch, handler, options)


def _with_ray(arguments):
    """Returns the function that predicts a batch with Ray."""
    from ram_tf.serving.batch import ray_pool

    return lambda batch: ray_pool.run(
        batch,
        _predictor(arguments),
        arguments.address,
        arguments.num_cpus,
        arguments.num_gpus,
        arguments.concurrency,
    )


def _predictor(arguments):
    return arguments.model_dir, arguments.batch_size, arguments.threshold
