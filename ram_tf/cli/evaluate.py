r"""Evaluates runs or an exported model on one split.

    ram-tf evaluate --model_dir runs/digits
    ram-tf evaluate --model_dir runs/voc --views 10 --svm --output r.json
    ram-tf evaluate --model_dir saved_models/voc2012/1 --dataset voc2012 \
        --data_dir VOCdevkit --split val --protocol mlgcn

Prints the metrics, for a run also those of its pooled classifier, and writes them as
JSON with --output. On VOC 2007 test and COCO val it also prints the differences from
the papers' results.
"""

from ram_tf.cli import command, evaluation_flags


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf evaluate")
    evaluation_flags.add_model_arguments(parser)
    evaluation_flags.add_arguments(parser)
    parser.add_argument("--output", help="JSON file for the metrics")
    return parser.parse_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.data.shards import shard_folder
    from ram_tf.evaluation import results
    from ram_tf.evaluation.papers import published_results

    _, _, settings, _, result = evaluation_flags.evaluate(arguments)
    print(results.table(result))
    data = settings.data
    made_of, _ = shard_folder.source(data.dataset, data.data_dir)
    differences = published_results.text(made_of, result)
    if differences:
        print(f"\n{differences}")
    if arguments.output:
        results.write(result, arguments.output)
    return 0
