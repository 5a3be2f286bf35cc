"""Writes the images of a dataset into a few large files, for large datasets.

    ram-tf shard --output_dir SHARDS MINE                   a folder with csv files
    ram-tf shard --output_dir SHARDS --dataset coco --data_dir D

Each shard is a TFRecord file of about --shard_mb, with an index beside it. Training
with --dataset shards --data_dir SHARDS reads the same images, labels and boxes in the
same order and with the same crops as from the dataset itself. It begins sooner, since
every image is decoded once while it is written. The same command goes on where it was
interrupted.
"""

from ram_tf.cli import command, setting_flags

MB = 1 << 20


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf shard")
    parser.add_argument("--output_dir", required=True, help="folder of the shards")
    parser.add_argument(
        "--shard_mb", type=int, default=128, help="size of a shard in MiB [%(default)s]"
    )
    setting_flags.add_split_arguments(parser)
    parser.add_argument("data", nargs="?", help="same as --data_dir")
    arguments = setting_flags.with_folder(parser, parser.parse_args(argv))
    if arguments.shard_mb < 1:
        parser.error(f"--shard_mb: expected 1 or more, received {arguments.shard_mb}")
    return arguments


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since it loads TensorFlow, which `--help` need not wait for.
    from ram_tf.runs.splits import sharding

    settings = setting_flags.from_arguments(arguments)
    shard_bytes = arguments.shard_mb * MB
    manifest = sharding.write(settings, arguments.output_dir, shard_bytes)
    for name, split in manifest.splits.items():
        images = sum(shard["images"] for shard in split.shards)
        size = sum(shard["bytes"] for shard in split.shards)
        count = len(split.shards)
        print(f"{name}: {images} images in {count} shards, {size / MB:.1f} MiB")
    print(f"to train: ram-tf fit --dataset shards --data_dir {arguments.output_dir}")
    return 0
