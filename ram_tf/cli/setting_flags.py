"""The flags of a `Config`, one for each setting, and the `Config` of parsed flags."""

import argparse

from ram_tf.runs.config import FIELDS, RETIRED, Config
from ram_tf.runs.presets import OF_RARL, PRESET_OF, PRESETS, preset

# Without `split_fraction`: other fractions would put training images into the test
# split.
DATA = "dataset data_dir year manual_dir difficult skip_unreadable max_pixels".split()


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


def add_arguments(parser):
    """Adds a flag for each setting; default: the preset's value."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="initial values of the settings; default: "
        + ", ".join(f"{preset} for {dataset}" for dataset, preset in PRESET_OF.items()),
    )
    groups = {}
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
        _add_flag(groups[group], name, explanation)
    for name in RETIRED:
        parser.add_argument(
            *(f"--{name}", f"--no-{name}"),
            dest=name,
            action=_Retired,
            nargs="?",  # some took a value
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )


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
    parser.add_argument(
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
    """Returns the values of the settings whose flags were given, by name."""
    return {n: getattr(arguments, n) for n in FIELDS if hasattr(arguments, n)}


def from_arguments(arguments, both_models=False):
    """Returns the `Config` of parsed flags, which override the dataset's preset.

    Args:
        arguments: Parsed flags.
        both_models: Whether settings of both models are allowed, whatever --model is.

    Raises:
        ValueError: A setting is out of range or has no effect.
    """
    given = _given(arguments)
    dataset = given.get("dataset", "digits")
    name = arguments.preset or PRESET_OF[dataset]
    model = given.get("model", "rdar")
    if not both_models:
        _check_model(given, model)
    settings = Config.of(**{"dataset": dataset, **preset(name, model), **given})
    # `Config` does not check these, so that older runs with such settings still open.
    _check_effects(settings, given)
    if settings.model.backbone == "small" and settings.model.weights == "imagenet":
        raise ValueError(
            "The backbone 'small' has no ImageNet weights. Expected --weights none or "
            "a file with it. Received: --weights imagenet"
        )
    return settings


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
        settings.data.dataset not in ("digits", "csv") and not settings.data.data_dir
    )
    for name, acts, expected in (
        ("year", settings.data.dataset == "coco", "--dataset coco"),
        ("difficult", of_voc, "--dataset voc2007 or voc2012"),
        ("split_fraction", settings.data.dataset == "csv", "--dataset csv"),
        ("manual_dir", through_tfds, "voc or coco without --data_dir"),
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
