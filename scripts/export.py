"""Exports a trained run as the next version of a SavedModel, or in another format.

    python scripts/export.py --model_dir runs/digits
    python scripts/export.py --model_dir runs/digits --svm
    python scripts/export.py --model_dir runs/digits --format litert --quantize

fit.py does the first at its end; this is for a run that was copied, or another place,
or with the SVMs and the views that evaluate.py --svm has fitted and stored, as
NAME-svm. Other formats are a file beside that folder, NAME.onnx, NAME.tflite or
NAME-quantized.tflite (an older one is replaced), and take images of one size.
"""

import pathlib

from ram_tf.cli import command
from ram_tf.evaluation.ensemble import ViewSettings, ensemble_view, svm_view
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving import litert_model, onnx_model
from ram_tf.serving.export import export


def parse(argv):
    parser = command.parser(__doc__)
    parser.add_argument(
        "--model_dir",
        required=True,
        nargs="+",
        help="a run's output folder, several to look together",
    )
    parser.add_argument("--svm", action="store_true", help="with the run's SVMs")
    parser.add_argument("--name", help="of what is written; default: the run's")
    parser.add_argument("--saved_models", default="saved_models", help="where to write")
    parser.add_argument(
        "--format",
        choices=("savedmodel", "onnx", "litert"),
        default="savedmodel",
        help="%(default)s; onnx needs the extra onnx",
    )
    parser.add_argument(
        "--quantize", action="store_true", help="litert: weights in 8 bits"
    )
    parser.add_argument(
        "--warm_up",
        action="store_true",
        help="savedmodel: with requests to warm TensorFlow Serving up by (needs the "
        "extra serving)",
    )
    arguments = parser.parse_args(argv)
    for flag, kind in (("quantize", "litert"), ("warm_up", "savedmodel")):
        if getattr(arguments, flag) and arguments.format != kind:
            parser.error(f"--{flag} is for --format {kind} only")
    return arguments


def main(argv):
    arguments = parse(argv)
    runs = [Run.open(folder) for folder in arguments.model_dir]
    name = arguments.name or runs[0].config.saved_name + "-svm" * arguments.svm
    if arguments.svm:
        view = svm_view(runs)
    elif len(runs) > 1:
        view = ensemble_view(runs, ViewSettings())
    else:
        view = run_models.served_view(runs[0], run_models.load_attention(runs[0]))
    parent = pathlib.Path(arguments.saved_models)
    if arguments.format == "onnx":
        print(onnx_model.export(view, runs[0], parent / f"{name}.onnx"))
    elif arguments.format == "litert":
        file = parent / f"{name}{'-quantized' * arguments.quantize}.tflite"
        print(litert_model.export(view, runs[0], file, arguments.quantize))
    else:
        print(export(view, runs[0], parent / name, arguments.warm_up))
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
