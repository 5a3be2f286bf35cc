"""The flags of a `Config`: one for each setting, and what parsed ones come to."""

import argparse

from ram_tf.runs.config import FIELDS, RETIRED, Config
from ram_tf.runs.presets import OF_RARL, PRESET_OF, PRESETS, preset

# Not the shares of a single csv: cut at other places, it would hand images that were
# learnt from to the split that is reported.
DATA = "dataset data_dir year manual_dir difficult skip_unreadable max_pixels".split()


def add_data_arguments(parser):
    """Adds a flag for each setting that says where images come from."""
    for name in DATA:
        explanation = f"{FIELDS[name][1].metadata['explanation']} [as in training]"
        _add_flag(parser, name, explanation)


def with_data(settings, arguments):
    """The settings of a run, with the images of parsed flags."""
    given = _given(arguments)
    if given.get("dataset", settings.data.dataset) != settings.data.dataset:
        # The folder of another data set is none for this one.
        given.setdefault("data_dir", "")
    return settings.replace(**given)


def add_arguments(parser):
    """Adds a flag for each setting; what is not given is left to the preset."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="settings to begin with; default: "
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
            nargs="?",  # whatever it once took
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )


class _Retired(argparse.Action):
    """Refuses the flag of a setting that is no more, as soon as it is parsed."""

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
    """The settings among parsed flags that were given."""
    return {n: getattr(arguments, n) for n in FIELDS if hasattr(arguments, n)}


def from_arguments(arguments, of_both=False):
    """The configuration of parsed flags: the preset of the data set, then the flags.

    Args:
        arguments: Parsed flags.
        of_both: Whether settings of either model are used, whichever is chosen.

    Raises:
        ValueError: A setting is out of range, or has nothing to act on.
    """
    given = _given(arguments)
    dataset = given.get("dataset", "digits")
    name = arguments.preset or PRESET_OF[dataset]
    model = given.get("model", "rdar")
    if not of_both:
        _check_own(given, model)
    begun = preset(name, model)
    settings = Config.of(**{"dataset": dataset, **begun, **given})
    # Neither is in `Config`: runs that were begun so can still be opened.
    _check_effects(settings, given)
    if settings.model.backbone == "small" and settings.model.weights == "imagenet":
        raise ValueError(
            "The backbone 'small' has no ImageNet weights. Expected --weights none or "
            "a file with it. Received: --weights imagenet"
        )
    return settings


def _check_own(given, model):
    """Raises a `ValueError` where a given flag is one of the other model's settings."""
    for name in given:
        only = FIELDS[name][1].metadata["only"]
        if only not in (None, model):
            raise ValueError(
                f"--{name} has no part in this model. Expected: --model "
                f"{only}. Received: --model {model}"
            )


def _check_effects(settings, given):
    """Raises a `ValueError` where a given flag has nothing to act on.

    A default may be given anywhere.
    """
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
                f"--{name} has nothing to act on. Expected {expected} with it. "
                f"Received: --{name} {given[name]}"
            )


def check_free(arguments, fixed, where):
    """Raises a `ValueError` where a given flag is decided elsewhere.

    Args:
        arguments: Parsed flags.
        fixed: Names of the settings that are.
        where: What decides them.
    """
    for name in sorted(_given(arguments).keys() & fixed):
        raise ValueError(
            f"--{name} is what the rows of {where} differ in. Expected it to be left "
            f"to them. Received: --{name} {getattr(arguments, name)}"
        )
