r"""Says which labels are on any number of images, in shards that are never done twice.

    python scripts/predict_beam.py --model_dir saved_models/digits/1 \
        --images 'photos/**.jpg' --output_dir out
    find photos -name '*.jpg' | python scripts/predict_beam.py --list - \
        --model_dir saved_models/digits/1 --output_dir out --format parquet \
        --direct_num_workers 2 --direct_running_mode multi_processing

An Apache Beam pipeline; flags that are not listed here are Beam's own (--runner ...).
Each shard becomes a part- file of records and an unread- file of the images that have
none, with the reason. Started again, it goes on with the shards that are left.
"""

import sys

from ram_tf.cli import command


def parse(argv):
    parser = command.parser(__doc__, allow_abbrev=False)
    parser.add_argument("--images", nargs="+", default=[], help="paths or patterns")
    parser.add_argument("--list", help="file with a path on each line; - for stdin")
    parser.add_argument("--model_dir", required=True, help="a SavedModel's folder")
    parser.add_argument("--output_dir", required=True, help="folder of the batch")
    parser.add_argument(
        "--format", default="jsonl", help="jsonl, tfrecord or parquet; %(default)s"
    )
    parser.add_argument(
        "--shard_size", type=int, default=1000, help="images a shard; %(default)s"
    )
    parser.add_argument(
        "--batch_size", type=int, default=32, help="images at a time; %(default)s"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="smallest probability of a label that is named; default: as fitted for "
        "each label in training, or 0.5",
    )
    return parser.parse_known_args(argv)


def main(argv):
    arguments, flags = parse(argv)
    # Here, since the extra may be missing, which is said in a sentence.
    from ram_tf.serving.batch import beam_pipeline
    from ram_tf.serving.batch import shards as batches

    options = beam_pipeline.pipeline_options(flags)
    lines = []
    if arguments.list:
        lines = batches.read_list(arguments.list, sys.stdin.buffer)
    batch = batches.Batch.open(
        arguments.output_dir,
        batches.list_images(arguments.images, lines),
        arguments.model_dir,
        arguments.format,
        arguments.shard_size,
        arguments.threshold,
    )
    left = len(batch.unfinished())
    print(f"{len(batch.shards) - left} of {len(batch.shards)} shards are finished")
    handler = beam_pipeline.SavedModelHandler(
        arguments.model_dir, arguments.batch_size, arguments.threshold
    )
    counts = beam_pipeline.run(batch, handler, options)
    print(beam_pipeline.table(batch, counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
