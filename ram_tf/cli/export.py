"""Exports a trained run as a new version of a SavedModel, or in another format.

    ram-tf export --model_dir runs/digits
    ram-tf export --model_dir runs/digits --svm
    ram-tf export --model_dir runs/digits --format litert --quantize

`fit` exports its run at the end; this command exports a run again, for example to
another folder or, as NAME-svm, with the SVMs and views of `evaluate --svm`. The other
formats replace the file NAME.onnx, NAME.tflite or NAME-quantized.tflite next to the
SavedModel's folder and take images of one size. Each export has a model card: the
README.md of the version, or a text within the file.
"""

import pathlib

from ram_tf.cli import command


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf export")
    parser.add_argument(
        "--model_dir",
        required=True,
        nargs="+",
        help="output folder of a run, or of several as an ensemble",
    )
    parser.add_argument("--svm", action="store_true", help="include the SVMs")
    parser.add_argument("--name", help="model name; default: the run's")
    parser.add_argument("--saved_models", default="saved_models", help="output folder")
    parser.add_argument(
        "--format",
        choices=("savedmodel", "onnx", "litert"),
        default="savedmodel",
        help="file format, onnx with the extra onnx; %(default)s",
    )
    parser.add_argument("--quantize", action="store_true", help="litert: 8-bit weights")
    parser.add_argument(
        "--weight_bits",
        type=int,
        choices=(32, 16),
        default=32,
        help="savedmodel: bits of a stored weight; 16 halves the file and changes "
        "probabilities by about 0.0001; %(default)s",
    )
    parser.add_argument(
        "--licence",
        metavar="ID",
        help="licence of the model for its card, such as apache-2.0; default: not "
        "stated",
    )
    parser.add_argument(
        "--warm_up",
        action="store_true",
        help="savedmodel: include requests that warm up TensorFlow Serving, with the "
        "extra serving",
    )
    arguments = parser.parse_args(argv)
    for flag, kind, default in (
        ("quantize", "litert", False),
        ("warm_up", "savedmodel", False),
        ("weight_bits", "savedmodel", 32),
    ):
        if getattr(arguments, flag) != default and arguments.format != kind:
            parser.error(f"--{flag} is for --format {kind} only")
    return arguments


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.evaluation.ensemble import ViewSettings, ensemble_view, svm_view
    from ram_tf.runs import run_models
    from ram_tf.runs.run import Run
    from ram_tf.serving.formats import litert_model, onnx_model
    from ram_tf.serving.formats.export import export

    runs = [Run.open(folder) for folder in arguments.model_dir]
    default_name = runs[0].config.saved_name + ("-svm" if arguments.svm else "")
    name = arguments.name or default_name
    if arguments.svm:
        view = svm_view(runs)
    elif len(runs) > 1:
        view = ensemble_view(runs, ViewSettings())
    else:
        view = run_models.served_view(runs[0], run_models.load_attention(runs[0]))
    parent, licence = pathlib.Path(arguments.saved_models), arguments.licence
    if arguments.format == "onnx":
        print(onnx_model.export(view, runs[0], parent / f"{name}.onnx", licence))
    elif arguments.format == "litert":
        suffix = "-quantized" if arguments.quantize else ""
        file = parent / f"{name}{suffix}.tflite"
        print(litert_model.export(view, runs[0], file, arguments.quantize, licence))
    else:
        how = arguments.warm_up, arguments.weight_bits, licence
        print(export(view, runs[0], parent / name, *how))
    return 0
