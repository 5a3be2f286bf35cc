"""Trains a model, evaluates it, draws its regions and exports it.

    ram-tf fit                                the built-in digits
    ram-tf fit --data_dir MINE                your own images, listed in csv files
    ram-tf fit --dataset coco --data_dir D    another dataset

The output folder then holds the weights of both steps, config.json, results.json, an
image of regions and TensorBoard's logs; the SavedModel is in saved_models/NAME.
With --resume, the same command continues from the last checkpoint; without
--pooled_only it also continues a run of step 1 alone. With --start_from it begins from
an earlier model, of which it takes over the labels that both have. On several machines,
start it on each with TF_CONFIG; only worker 0 writes files.
"""

import pathlib

from ram_tf.cli import command, setting_flags


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf fit")
    parser.add_argument("--output_dir", help="run's folder; default: runs/NAME[-rarl]")
    saved_models = parser.add_argument(
        "--saved_models", default="saved_models", help="folder of the SavedModels"
    )
    parser.add_argument(
        "--resume", action="store_true", help="resume the run, if there is one"
    )
    pooled_only = parser.add_argument(
        "--pooled_only", action="store_true", help="train and evaluate only step 1"
    )
    setting_flags.add_devices_argument(parser)
    rare = setting_flags.add_arguments(parser)
    parser.hide([saved_models, pooled_only, *rare])
    return parser.parse_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.cli import dataset_table
    from ram_tf.evaluation.infer_split import calibrate, write_results
    from ram_tf.runs import run_models
    from ram_tf.runs.origin import Origin
    from ram_tf.runs.run import Run
    from ram_tf.runs.splits import dataset_check, proposals, run_splits
    from ram_tf.serving.formats.export import export
    from ram_tf.serving.run_examples import how_to_try, write_examples
    from ram_tf.storage import atomic_files
    from ram_tf.training import devices, two_steps

    settings = setting_flags.from_arguments(arguments)
    team = devices.Devices.start(arguments.devices)
    team.check(settings)
    folder = pathlib.Path(arguments.output_dir or f"runs/{settings.run_name}")
    if team.chief:
        atomic_files.check_writable(folder, arguments.saved_models)
    division = settings.data.division
    if team.chief and arguments.resume:
        division = Run.division_of(folder, settings)
    with team.guarded():
        settings = settings.replace(division=team.broadcast(division))
    origin = Origin.of_new_run(folder, settings) if team.chief else None
    splits = run_splits.load(settings)
    if origin:
        origin.check_unseen(splits, settings)
    labels = splits.train.label_names
    train = two_steps.train_pooled if arguments.pooled_only else two_steps.train
    if not team.chief:
        train(Run(folder, settings, labels), splits.train, splits.selection, team)
        return 0
    run = Run.start(folder, settings, labels, arguments.resume)
    found = dataset_check.describe(settings, splits)
    print(dataset_table.table(found, is_loaded=True), flush=True)
    splits = run_splits.RunSplits(*(proposals.for_run(run, split) for split in splits))

    trained = train(run, splits.train, splits.selection, team)
    if arguments.pooled_only:
        print(write_results(run, splits.report, run_models.load_pooled(run)))
        return 0
    pooled, model = trained
    if settings.evaluation.calibrate:
        calibrate(run, model, splits.selection)
    view = run_models.served_view(run, model)
    print(write_results(run, splits.report, pooled, view))
    if settings.given_regions:
        print("\nnot exported: object proposals cannot be part of an exported model")
        return 0
    model_folder = pathlib.Path(arguments.saved_models, settings.saved_name)
    version = export(view, run, model_folder)
    samples = write_examples(run, view, splits.report)
    print(how_to_try(version, samples, folder / "predictions"))
    return 0
