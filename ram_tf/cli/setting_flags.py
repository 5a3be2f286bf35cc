"""The flags of a `Config`, one for each setting, and the `Config` of parsed flags."""

import argparse
import pathlib
import sys

from ram_tf.data.dataset_names import SHARDS_FILE
from ram_tf.runs.config import FIELDS, RETIRED, Config
from ram_tf.runs.presets import OF_RARL, PRESET_OF, PRESETS, preset

# Without `split_fraction`: other fractions would put training images into the test
# split.
DATA = (
    "dataset data_dir year manual_dir difficult negatives skip_unreadable max_pixels "
    "truncated"
).split()


def add_data_arguments(parser):
    """Adds a flag for each setting of the dataset; default: the run's own value."""
    for name in DATA:
        explanation = f"{FIELDS[name][1].metadata['explanation']} [as in training]"
        _add_flag(parser, name, explanation)


def with_data(settings, arguments):
    """Returns the settings of a run with those of the dataset from parsed flags."""
    given = _given(arguments)
    if given.get("dataset", settings.data.dataset) != settings.data.dataset:
        # The run's folder belongs to its own dataset.
        given.setdefault("data_dir", "")
    return settings.replace(**given)


def add_split_arguments(parser):
    """Adds a flag for each setting that the splits of a run depend on.

    `from_arguments` returns the `Config` that training with these flags has.
    """
    parser.set_defaults(preset=None, config=None)
    for name, (group, field) in FIELDS.items():
        if group == "data" or name in ("select_by", "seed"):
            explanation = f"{field.metadata['explanation']} [as in fit]"
            _add_flag(parser, name, explanation)


def with_folder(parser, arguments):
    """Returns parsed flags whose folder may be given without --data_dir.

    Args:
        parser: The parser, with `add_split_arguments` and an optional argument `data`.
        arguments: What it has parsed.
    """
    if arguments.data is not None:
        if hasattr(arguments, "data_dir"):
            parser.error("give the folder once: as DATA or as --data_dir")
        arguments.data_dir = arguments.data
    return arguments


def add_devices_argument(parser):
    """Adds the flag `--devices`, for `training.devices.Devices.start`."""
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        help="number of GPUs that share each batch; without a GPU, the number of parts "
        "of the CPU, only for tests [%(default)s]",
    )


def add_arguments(parser):
    """Adds a flag for each setting; default: the preset's value.

    Returns:
        A list of the actions of the flags that few people need.
    """
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="initial values of the settings, which flags override: a run's "
        "config.json, or some of its settings, over the preset",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="initial values of the settings; default: "
        + ", ".join(f"{preset} for {dataset}" for dataset, preset in PRESET_OF.items()),
    )
    groups, rare = {}, []
    for name, (group, field) in FIELDS.items():
        if group not in groups:
            groups[group] = parser.add_argument_group(group) if group else parser
        defaults = [f"{field.default}" if field.default != "" else "empty"]
        defaults += [
            f"{preset}: {values[name]}"
            for preset, values in PRESETS.items()
            if name in values
        ]
        defaults += [
            f"{preset} with rarl: {values[name]}"
            for preset, values in OF_RARL.items()
            if name in values
        ]
        explanation = f"{field.metadata['explanation']} [{'; '.join(defaults)}]"
        action = _add_flag(groups[group], name, explanation)
        if not field.metadata["common"]:
            rare.append(action)
    for name in RETIRED:
        parser.add_argument(
            *(f"--{name}", f"--no-{name}"),
            dest=name,
            action=_Retired,
            nargs="?",  # some took a value
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )
    return rare


class _Retired(argparse.Action):
    """An action that refuses the flag of a removed setting when it is parsed."""

    def __call__(self, parser, namespace, value, option_string=None):
        received = option_string if value is None else f"{option_string} {value}"
        raise ValueError(
            f"{option_string} {RETIRED[self.dest]}. Expected the command without it. "
            f"Received: {received}"
        )


def _add_flag(parser, name, explanation):
    field = FIELDS[name][1]
    kind, choices = field.type, field.metadata["choices"]
    return parser.add_argument(
        f"--{name}",
        default=argparse.SUPPRESS,
        help=explanation.replace("%", "%%"),
        **(
            {"action": argparse.BooleanOptionalAction}
            if kind is bool
            else {"type": kind, "choices": choices}
        ),
    )


def _given(arguments):
    """Returns the values of the settings whose flags were given, by name.

    A folder of shards says itself that it is one.
    """
    given = {n: getattr(arguments, n) for n in FIELDS if hasattr(arguments, n)}
    folder = given.get("data_dir")
    is_shards = folder and pathlib.Path(folder, SHARDS_FILE).is_file()
    return {"dataset": "shards", **given} if is_shards else given


def from_arguments(arguments, both_models=False):
    """Returns the `Config` of parsed flags.

    They override the file of `--config`, and that the preset of `--preset` or of the
    dataset; a whole config.json leaves nothing to a preset. A folder without --dataset
    is one with csv files, or one of shards. The preset "paper" of a
    dataset is for the paper's labels: other labels begin with "photographs".

    Args:
        arguments: Parsed flags; `preset` is set to the one that was taken.
        both_models: Whether settings of both models are allowed, whatever --model is.

    Raises:
        FileNotFoundError: The file of `--config` does not exist.
        ValueError: It is no configuration; or a setting is out of range or has no
            effect.
    """
    given = _given(arguments)
    filed, whole = _from_file(arguments, given)
    chosen = {**filed, **given}
    chosen.setdefault("dataset", "csv" if chosen.get("data_dir") else "digits")
    model = chosen.get("model", "rdar")
    if not both_models:
        _check_model(given, model)
    initial = {}
    if not whole:
        arguments.preset = arguments.preset or _preset_of(chosen)
        initial = preset(arguments.preset, model)
    settings = Config.of(**{**initial, **chosen}).with_whole_paths()
    # `Config` does not check these, so that older runs with such settings still open.
    _check_effects(settings, given)
    if settings.model.start_from:
        _check_no_weights(given, settings)
    elif settings.model.backbone == "small" and settings.model.weights == "imagenet":
        raise ValueError(
            "The backbone 'small' has no ImageNet weights. Expected --weights none or "
            "a file with it. Received: --weights imagenet"
        )
    return settings


def _check_no_weights(given, settings):
    """Raises a `ValueError` if --weights is given together with --start_from."""
    if "weights" in given:
        raise ValueError(
            "--weights has no effect with --start_from, whose model has weights of the "
            f"backbone. Expected one of both. Received: --weights {given['weights']} "
            f"--start_from {settings.model.start_from}"
        )


def _preset_of(chosen):
    """Returns the preset of a dataset, and prints it if its labels are not the paper's.

    Args:
        chosen: The settings that are known without a preset, by name.
    """
    dataset, data_dir = chosen["dataset"], chosen.get("data_dir")
    made_of = dataset
    if dataset == "shards" and data_dir:
        # Imported here, since it loads TensorFlow, which `--help` need not wait for.
        from ram_tf.data.shards import shard_folder

        made_of, _ = shard_folder.source(dataset, data_dir)
    name = PRESET_OF.get(made_of, "photographs")
    if name != "paper" or not data_dir:
        return name
    from ram_tf.data import datasets, paper_labels

    try:
        labels = datasets.label_names(dataset, data_dir, chosen.get("year") or None)
    except (OSError, ValueError):
        return name  # reported when the data are read
    if paper_labels.are_papers(made_of, labels):
        return name
    print(
        f"the {len(labels)} labels of {data_dir} are not the paper's: the settings "
        "begin with --preset photographs (--preset paper: the paper's)",
        file=sys.stderr,
    )
    return "photographs"


def _from_file(arguments, given):
    """Returns the settings in the file of `--config` by name, and if it has all."""
    if not arguments.config:
        return {}, False
    # Imported here, since it loads NumPy, which `--help` need not wait for.
    from ram_tf.runs import config_json

    settings, whole = config_json.read_settings(arguments.config)
    if whole and arguments.preset:
        raise ValueError(
            "--preset has no effect with a config.json that holds all settings. "
            f"Expected one of both. Received: --preset {arguments.preset} --config "
            f"{arguments.config}"
        )
    dataset = given.get("dataset", settings.get("dataset"))
    if dataset != settings.get("dataset"):
        # The file's folder belongs to its own dataset.
        settings.pop("data_dir", None)
    return settings, whole


def _check_model(given, model):
    """Raises a `ValueError` if a given flag is a setting of the other model only."""
    for name in given:
        only = FIELDS[name][1].metadata["only"]
        if only not in (None, model):
            raise ValueError(
                f"--{name} has no effect on this model. Expected --model {only}. "
                f"Received: --model {model}"
            )


def _check_effects(settings, given):
    """Raises a `ValueError` if a flag with a non-default value has no effect."""
    default = Config()
    changed = {n: v for n, v in given.items() if v != default[n]}
    of_voc = settings.data.dataset.startswith("voc")
    through_tfds = (
        settings.data.dataset not in ("digits", "csv", "voc", "shards")
        and not settings.data.data_dir
    )
    has_folder = bool(settings.data.data_dir)
    coco_files = settings.data.dataset == "coco" and has_folder
    voc_files = of_voc and has_folder
    for name, acts, expected in (
        ("year", settings.data.dataset == "coco", "--dataset coco"),
        ("difficult", of_voc, "--dataset voc2007, voc2012 or voc"),
        (
            "negatives",
            coco_files or voc_files,
            "--dataset coco or voc and --data_dir",
        ),
        (
            "split_fraction",
            settings.data.dataset == "csv" or coco_files or voc_files,
            "--dataset csv, or coco or voc and --data_dir,",
        ),
        ("manual_dir", through_tfds, "voc or coco without --data_dir"),
        ("cache_dir", settings.data.cache == "disk", "--cache disk"),
        (
            "start_scale",
            settings.attention.starts == "anchors"
            or settings.attention.localization == "content",
            "--starts anchors or --localization content",
        ),
        (
            "localization",
            settings.finds_regions,
            "--region_source attention and --locations learnt",
        ),
        ("context", settings.attention.head_start == "pooled", "--head_start pooled"),
        ("precision_floor", settings.evaluation.calibrate, "--calibrate"),
    ):
        if name in changed and not acts:
            raise ValueError(
                f"--{name} has no effect here. Expected {expected} with it. "
                f"Received: --{name} {given[name]}"
            )


def check_not_fixed(arguments, fixed, table):
    """Raises a `ValueError` if a flag is given that a table sets for each of its rows.

    Args:
        arguments: Parsed flags.
        fixed: A set of the names of the settings that the table sets.
        table: The name of the table.
    """
    for name in sorted(_given(arguments).keys() & fixed):
        raise ValueError(
            f"The rows of {table} set --{name} themselves. Expected the command "
            f"without it. Received: --{name} {getattr(arguments, name)}"
        )
