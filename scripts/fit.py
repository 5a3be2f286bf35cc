"""Trains a model, reports its figures, draws its regions and exports it.

    python scripts/fit.py                                  the embedded digits
    python scripts/fit.py --dataset csv --data_dir MINE    your own pictures

The output folder then holds the weights of both steps, config.json, results.json, a
picture of regions and TensorBoard's logs; the SavedModel is in saved_models/NAME.
Interrupted, the same command with --resume goes on after the last whole epoch; without
--pooled_only, after step 1. On several machines it is started on each, with TF_CONFIG;
worker 0 alone writes.
"""

import pathlib

from ram_tf.cli import command, setting_flags
from ram_tf.evaluation.infer_split import calibrate, report
from ram_tf.runs import proposals, run_models, run_splits
from ram_tf.runs.run import Run
from ram_tf.serving.examples import how_to_try, write_examples
from ram_tf.serving.export import export
from ram_tf.storage import atomic_files
from ram_tf.training import devices, two_steps


def parse(argv):
    parser = command.parser(__doc__)
    parser.add_argument("--output_dir", help="of the run; default: runs/NAME[-rarl]")
    parser.add_argument(
        "--saved_models", default="saved_models", help="where it is written"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run, if there is one"
    )
    parser.add_argument(
        "--pooled_only", action="store_true", help="stop after step 1 and report it"
    )
    devices.add_argument(parser)
    setting_flags.add_arguments(parser)
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    settings = setting_flags.from_arguments(arguments)
    team = devices.Devices.start(arguments.devices)
    team.check(settings)
    folder = pathlib.Path(arguments.output_dir or f"runs/{settings.run_name}")
    if team.chief:
        atomic_files.check_writable(folder, arguments.saved_models)
    splits = run_splits.load(settings)
    labels = splits.train.label_names
    train = two_steps.train_pooled if arguments.pooled_only else two_steps.train
    if not team.chief:
        train(Run(folder, settings, labels), *splits[:2], team)
        return 0
    run = Run.start(folder, settings, labels, arguments.resume)
    splits = run_splits.RunSplits(*(proposals.for_run(run, split) for split in splits))

    trained = train(run, splits.train, splits.selection, team)
    if arguments.pooled_only:
        print(report(run, splits.report, run_models.load_pooled(run)))
        return 0
    pooled, model = trained
    if settings.evaluation.calibrate:
        calibrate(run, model, splits.selection)
    view = run_models.served_view(run, model)
    print(report(run, splits.report, pooled, view))
    if settings.given_regions:
        print("\nnot exported: object proposals cannot be found in the model's graph")
        return 0
    place = pathlib.Path(arguments.saved_models, settings.saved_name)
    version = export(view, run, place)
    samples = write_examples(run, view, splits.report)
    print(how_to_try(version, samples, folder / "predictions"))
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
