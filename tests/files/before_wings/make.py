"""Makes the files beside it, by commit c668324, the last with one flat package.

    git worktree add BEFORE c668324
    PYTHONPATH=BEFORE:BEFORE/tests python tests/data/before_wings/make.py

run/           a finished run on squares, its settings in one flat config.json
interrupted/   step 2 of the same run as an interruption after its first epoch left it
outputs.npz    what the model said of the validation images, as it was exported
"""

import dataclasses
import os
import pathlib
import shutil
import tempfile

import numpy as np
from ram_tf.export import export
from ram_tf.predictor import Predictor
from ram_tf.run import Run
from small_run import BY_CONTENT, SMALL
from squares import write_squares

from ram_tf import evaluation, progress, run_splits, training

HERE = pathlib.Path(__file__).parent
RUN = """
config.json checksums/config.json images.json checksums/images.json calibration.json
checksums/calibration.json pooled.weights.h5 model.weights.h5 results.json
""".split()


def settings():
    return dataclasses.replace(
        SMALL,
        **BY_CONTENT,
        name="before",
        data_dir="squares",
        frozen=0.7,  # and so fewer states of the optimiser to keep
        ema=0.9,
        pooled_epochs=3,
        epochs=2,
        calibrate=True,
    )


def start(folder):
    splits = run_splits.load(settings())
    return Run.start(folder, settings(), splits.train.label_names), splits


def make_run(folder):
    run, splits = start(folder)
    pooled, model = training.train(run, splits.train, splits.selection)
    evaluation.calibrate(run, model, splits.selection)
    view = run.served_view(model)
    print(evaluation.report(run, splits.report, pooled, view))
    for name in RUN:
        (HERE / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, HERE / "run" / name)
    predictor = Predictor.load(export(view, run, folder / "saved"))
    encoded = [pathlib.Path(image).read_bytes() for image in splits.report.images]
    np.savez(HERE / "outputs.npz", **predictor(encoded))


def make_interrupted(folder):
    run, splits = start(folder)
    end_of_epoch = progress.Progress.on_epoch_end

    def interrupted(callback, epoch, logs=None):
        end_of_epoch(callback, epoch, logs)
        if callback.checkpoint.parent.name == "step2":
            raise KeyboardInterrupt

    progress.Progress.on_epoch_end = interrupted
    try:
        training.train(run, splits.train, splits.selection)
    except KeyboardInterrupt:
        shutil.rmtree(HERE / "interrupted", ignore_errors=True)
        ignored = shutil.ignore_patterns("logs")
        shutil.copytree(folder / "step2", HERE / "interrupted", ignore=ignored)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        pathlib.Path("squares").mkdir()
        write_squares(pathlib.Path("squares"))
        make_run(pathlib.Path("run"))
        make_interrupted(pathlib.Path("again"))


if __name__ == "__main__":
    main()
