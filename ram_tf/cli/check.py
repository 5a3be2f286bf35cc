"""Checks a dataset before training: counts, unreadable images, duplicates and boxes.

    ram-tf check                                the built-in digits
    ram-tf check MINE                           a folder with csv files, or of shards
    ram-tf check --dataset coco --data_dir D    another dataset

Prints what the splits hold and what is wrong with them, such as test images that are
also trained on. The exit status is 1 if fit would refuse the data, otherwise 0.
"""

import json
import pathlib

from ram_tf.cli import command, setting_flags


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf check")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="JSON file for all that was found; - for stdout, in place of the table",
    )
    parser.add_argument("data", nargs="?", help="same as --data_dir")
    setting_flags.add_split_arguments(parser)
    return setting_flags.with_folder(parser, parser.parse_args(argv))


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.cli import dataset_table
    from ram_tf.runs.splits import dataset_check
    from ram_tf.storage import atomic_files

    settings = setting_flags.from_arguments(arguments)
    result = dataset_check.check(settings)
    if arguments.json:
        text = json.dumps(result.to_json(), indent=1, ensure_ascii=False)
    if arguments.json == "-":
        print(text)
    else:
        print(dataset_table.table(result))
    if arguments.json not in (None, "-"):
        with atomic_files.atomic_write(pathlib.Path(arguments.json)) as temporary:
            temporary.write_text(text + "\n", "utf-8")
    return 1 if result.refusals else 0
