"""The flags that say through whose eyes a split is looked at, and how it is counted."""

import dataclasses
import pathlib

from ram_tf.cli import setting_flags
from ram_tf.evaluation import infer_split
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.evaluation.results import PAPER
from ram_tf.metrics import protocols
from ram_tf.models.attention.region_lstm import DESCRIPTIONS
from ram_tf.runs import run_splits
from ram_tf.runs.run import Run
from ram_tf.serving.predictor import Predictor


def add_model_arguments(parser):
    """Adds the flags of `infer_as_asked` that say whose eyes and which images."""
    parser.add_argument(
        "--model_dir",
        required=True,
        nargs="+",
        help="a run's output folder, several to look together, a SavedModel's, or a "
        ".onnx or .tflite file",
    )
    parser.add_argument("--split", help="default: the one of the run's report")
    setting_flags.add_data_arguments(parser)


def add_arguments(parser):
    """Adds the flags of `from_arguments`."""
    parser.add_argument(
        "--protocol",
        choices=protocols.PROTOCOLS,
        default=PAPER.name,
        help="whose figures: thresholds, top k, means, interpolation; %(default)s",
    )
    parser.add_argument(
        "--threshold", type=float, help="smallest probability; default: the protocol's"
    )
    parser.add_argument(
        "--top_k",
        type=int,
        help="labels an image at most, 0 for any number; default: the protocol's",
    )
    parser.add_argument(
        "--scales",
        type=int,
        nargs="+",
        default=(),
        help="edges N that images are resized to; default: as in training",
    )
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 5, 10),
        default=1,
        help="the centre; and the corners; and their mirrors; %(default)s",
    )
    parser.add_argument(
        "--views_from",
        choices=("features", "image"),
        help="whether views are cut from features of the whole image, or each goes "
        "through the backbone; default: features where there are several",
    )
    parser.add_argument(
        "--svm",
        action="store_true",
        help="score by linear SVMs on the views' features, fitted to the training "
        "split and stored with the run",
    )
    parser.add_argument(
        "--feature",
        choices=DESCRIPTIONS,
        help="what the SVMs see of a region: the pooled region, x of Eq. 4 or z of "
        "Eq. 5; default: z where regions are flattened, else pooled",
    )


def from_arguments(arguments):
    """The `ViewSettings` and the `Protocol` of parsed flags.

    Raises:
        ValueError: A feature is named that nothing is to see.
    """
    if arguments.feature and not arguments.svm:
        raise ValueError(
            "--feature is what SVMs see. Expected --svm with it. "
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


def infer_as_asked(arguments, views):
    """Looks at the images of parsed flags through the models of parsed flags.

    Args:
        arguments: With the flags of `evaluation_flags.add_model_arguments`.
        views: `ViewSettings`.

    Returns:
        The `SplitOutputs`, the `Split`, and its `Config`.
    """
    folders = arguments.model_dir
    is_run = (pathlib.Path(folders[0]) / "config.json").is_file()
    models = [(Run.open if is_run else Predictor.load)(folder) for folder in folders]
    settings = setting_flags.with_data(models[0].config, arguments)
    split = run_splits.load_report(settings, arguments.split, models[0].label_names)
    infer = infer_split.infer_runs if is_run else infer_split.infer_exported_models
    return infer(models, split, settings, views), split, settings
