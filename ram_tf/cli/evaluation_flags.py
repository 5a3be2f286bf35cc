"""The flags that choose the models, the split, the views and the metrics' protocol."""

import dataclasses
import pathlib

from ram_tf.cli import setting_flags
from ram_tf.models.choices import DESCRIPTIONS


def add_model_arguments(parser):
    """Adds the flags of the models and the images, for `run_inference`."""
    parser.add_argument(
        "--model_dir",
        required=True,
        nargs="+",
        help="output folder of a run, or of several as an ensemble; or a SavedModel's "
        "folder, or a .onnx or .tflite file",
    )
    parser.add_argument("--split", help="split name; default: the run's test split")
    setting_flags.add_data_arguments(parser)


def add_arguments(parser):
    """Adds the flags of views and metrics, for `from_arguments`."""
    # Imported in the functions that need it, as what follows: it loads NumPy.
    from ram_tf.metrics import protocols

    parser.add_argument(
        "--protocol",
        choices=protocols.PROTOCOLS,
        default=protocols.PAPER.name,
        help="thresholds, top k, means and interpolation of the metrics; %(default)s",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="smallest predicted probability; default: the protocol's",
    )
    parser.add_argument(
        "--top_k",
        type=int,
        help="most predicted labels per image, 0 for no limit; default: the protocol's",
    )
    parser.add_argument(
        "--scales",
        type=int,
        nargs="+",
        default=(),
        help="edges in pixels that images are resized to; default: as in training",
    )
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 5, 10),
        default=1,
        help="crops per scale: centre; plus corners; plus mirrored ones; %(default)s",
    )
    parser.add_argument(
        "--views_from",
        choices=("features", "image"),
        help="source of the views: crops of the whole image's feature map, or crops of "
        "the image; default: features for several views or SVMs, else image",
    )
    parser.add_argument(
        "--svm",
        action="store_true",
        help="scores from linear SVMs on the views' features, fitted to the training "
        "split and stored in the run's folder",
    )
    parser.add_argument(
        "--feature",
        choices=DESCRIPTIONS,
        help="features of a region for the SVMs: the pooled region, x of Eq. 4 or z of "
        "Eq. 5; default: z if regions are flattened, else pooled",
    )


def from_arguments(arguments):
    """Returns the `ViewSettings` and the `Protocol` of parsed flags.

    Raises:
        ValueError: --feature without --svm.
    """
    from ram_tf.evaluation.ensemble import ViewSettings
    from ram_tf.metrics import protocols

    if arguments.feature and not arguments.svm:
        raise ValueError(
            "--feature has an effect only on SVMs. Expected --svm with it. "
            f"Received: --feature {arguments.feature}"
        )
    several = arguments.views > 1 or arguments.svm
    views = ViewSettings(
        tuple(arguments.scales),
        arguments.views,
        arguments.views_from or ("features" if several else "image"),
        arguments.svm,
        arguments.feature,
    )
    protocol = protocols.PROTOCOLS[arguments.protocol]
    changed = {}
    if arguments.threshold is not None:
        changed["threshold"] = arguments.threshold
    if arguments.top_k is not None:
        changed["top_k"] = (arguments.top_k or None,)
    if changed:
        name = f"{protocol.name}, changed: {', '.join(changed)}"
        protocol = dataclasses.replace(protocol, name=name, **changed)
    return views, protocol


def evaluate(arguments):
    """Evaluates the models and the split of parsed flags, by their protocol.

    Args:
        arguments: Parsed flags of `add_model_arguments` and `add_arguments`.

    Returns:
        The `SplitOutputs`, the `Split`, its `Config`, the `Protocol`, and the result of
        `results.evaluate`.
    """
    from ram_tf.evaluation import results

    views, protocol = from_arguments(arguments)
    inferred, split, settings = run_inference(arguments, views)
    result = results.evaluate(
        inferred.outputs, split, settings, protocol, inferred.about, **inferred.others
    )
    return inferred, split, settings, protocol, result


def run_inference(arguments, views):
    """Runs inference with the models and the split of parsed flags.

    Args:
        arguments: Parsed flags of `add_model_arguments`.
        views: The `ViewSettings`.

    Returns:
        The `SplitOutputs`, the `Split`, and the `Config` of the split.
    """
    from ram_tf.evaluation import infer_split
    from ram_tf.runs.run import Run
    from ram_tf.runs.splits import run_splits
    from ram_tf.serving.predictor import Predictor

    folders = arguments.model_dir
    is_run = (pathlib.Path(folders[0]) / "config.json").is_file()
    models = [(Run.open if is_run else Predictor.load)(folder) for folder in folders]
    settings = setting_flags.with_data(models[0].config, arguments)
    split = run_splits.load_report(settings, arguments.split, models[0].label_names)
    infer = infer_split.infer_runs if is_run else infer_split.infer_exported_models
    return infer(models, split, settings, views), split, settings
