"""Trains a model, reports its figures, draws its regions and exports it.

    python scripts/fit.py                                  the embedded digits
    python scripts/fit.py --dataset csv --data_dir MINE    your own pictures

The output folder then holds the weights of both steps, config.json, results.json, a
picture of regions and TensorBoard's logs; the SavedModel is in saved_models/NAME.
Interrupted, the same command with --resume goes on after the last whole epoch. On
several machines it is started on each, with TF_CONFIG; worker 0 alone writes.
"""

import argparse
import pathlib

from ram_tf import cli, devices, flags, proposals, run_splits, seal, training
from ram_tf.evaluation import calibrate, look, look_pooled
from ram_tf.export import export
from ram_tf.results import evaluate, table, write
from ram_tf.run import Run
from ram_tf.samples import how_to_try, write_samples


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", help="of the run; default: runs/NAME[-rarl]")
    parser.add_argument(
        "--saved_models", default="saved_models", help="where it is written"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run, if there is one"
    )
    devices.add_argument(parser)
    flags.add_arguments(parser)
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    settings = flags.from_arguments(arguments)
    team = devices.Devices.start(arguments.devices)
    team.check(settings)
    folder = pathlib.Path(arguments.output_dir or f"runs/{settings.run_name}")
    if team.chief:
        seal.must_be_writable(folder, arguments.saved_models)
    splits = run_splits.load(settings)
    labels = splits.train.label_names
    if not team.chief:
        training.train(Run(folder, settings, labels), *splits[:2], team)
        return 0
    run = Run.start(folder, settings, labels, arguments.resume)
    splits = run_splits.RunSplits(*(proposals.for_run(run, split) for split in splits))

    pooled, model = training.train(run, splits.train, splits.selection, team)
    if settings.calibrate:
        calibrate(run, model, splits.selection)
    view = run.served_view(model)
    report = splits.report
    seen, before = look(view, report, settings), look_pooled(pooled, report, settings)
    result = evaluate(seen, report, settings, about=view.about, pooled=before)
    write(result, run.folder / "results.json")
    print(table(result))
    if settings.given_regions:
        print("\nnot exported: object proposals cannot be found in the model's graph")
        return 0
    version = export(
        view, run, pathlib.Path(arguments.saved_models, settings.saved_name)
    )
    samples = write_samples(run, view, splits.report)
    print(how_to_try(version, samples, folder / "predictions"))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
