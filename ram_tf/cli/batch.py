r"""Predicts the labels of many images in shards, and resumes after an interruption.

    ram-tf batch --model_dir saved_models/digits/1 \
        --images 'photos/**.jpg' --output_dir out
    find photos -name '*.jpg' | ram-tf batch --list - \
        --model_dir saved_models/digits/1 --output_dir out --format parquet \
        --direct_num_workers 2 --direct_running_mode multi_processing

It is an Apache Beam pipeline; other flags than these are passed to Beam (--runner ...).
Each shard becomes a part- file of predictions and an unread- file of the images that
cannot be read, with the reason. Started again, it skips finished shards.
"""

import sys

from ram_tf.cli import command


def parse(argv):
    """Returns the parsed flags."""
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
    return parser.parse_known_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    arguments, flags = parse(argv)
    # Imported here so that `command.run` reports a missing extra in one line.
    from ram_tf.serving.batch import beam_pipeline, shards

    options = beam_pipeline.pipeline_options(flags)
    lines = []
    if arguments.list:
        lines = shards.read_list(arguments.list, sys.stdin.buffer)
    batch = shards.Batch.open(
        arguments.output_dir,
        shards.list_images(arguments.images, lines),
        arguments.model_dir,
        arguments.format,
        arguments.shard_size,
        arguments.threshold,
    )
    finished = len(batch.shards) - len(batch.unfinished())
    print(f"{finished} of {len(batch.shards)} shards are finished")
    handler = beam_pipeline.SavedModelHandler(
        arguments.model_dir, arguments.batch_size, arguments.threshold
    )
    counts = beam_pipeline.run(batch, handler, options)
    print(beam_pipeline.table(batch, counts))
    return 0
