"""Reads `config.json`, which may come from elsewhere: nothing in it is believed.

A run's is read whole, since its models are built from it. Of the one beside an exported
model only `SERVED` is read: its graph needs no settings, and goes on being served when
others are renamed or removed.
"""

import contextlib
import json
import reprlib

from ram_tf.data.split import check_label_names
from ram_tf.runs.config import FIELDS, FORMAT, RETIRED, Config

# What is asked of an exported model: how it looks at images, whose data it is evaluated
# on where no flag says so, and what it is called.
SERVED = (
    "dataset data_dir train_split val_split report_split split_fraction year "
    "manual_dir difficult skip_unreadable max_pixels name image_size crop_margin model "
    "regions steps loss batch_size"
).split()


# Formats whose runs are those of this version: 2 differs in the layout of this file.
READ = (2, FORMAT)
# Of each group the flags' names by those of its fields.
GROUPS = {
    group: {field.name: flag for flag, (of, field) in FIELDS.items() if of == group}
    for group, _ in FIELDS.values()
    if group
}


def from_json(text, where="config.json"):
    """Reads what `Config.to_json` wrote into a run's folder.

    Args:
        text: A string, or the bytes of the file.
        where: What is said to hold it.

    Returns:
        The `Config` and the tuple of label names.

    Raises:
        ValueError: The text is no configuration of this program, or of another version
            whose runs are none of this one.
    """
    with _explained():
        content, label_names = _parse(text)
    _check_format(content, where)
    with _explained():
        content = _flat(content)
    return _config(content), _checked(label_names)


def from_exported_json(text):
    """Reads what serving needs of what any version wrote beside an exported model.

    Args:
        text: A string, or the bytes of the file.

    Returns:
        A `Config` that has the settings of `SERVED` alone, all others being its
        defaults, and the tuple of label names.

    Raises:
        ValueError: The text is no configuration of this program.
    """
    with _explained():
        content, label_names = _parse(text)
    with _explained():
        content = _flat(content)
    served = {name: content[name] for name in SERVED if name in content}
    return _config(served), _checked(label_names)


@contextlib.contextmanager
def _explained():
    """Says of any error in it what the text should have been."""
    try:
        yield
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ValueError(
            "This is no configuration that fit.py wrote. Expected a config.json with "
            f"label_names and the settings of a run. Received: {error}"
        ) from error


def _parse(text):
    """The dict of settings, and the tuple of what should be the label names."""
    content = json.loads(text)
    return content, tuple(content.pop("label_names"))


def _checked(label_names):
    check_label_names(label_names, "config.json")
    return label_names


def _check_format(content, where):
    """Takes the format number out, and refuses all but this version's."""
    missing = "format" not in content
    found = content.pop("format", None)
    if missing:
        raise ValueError(
            "The run was trained by a version before 0.2, and its weights mean "
            f"something else now. Expected a run of format {FORMAT}: train again, into "
            "another folder (models that were exported from it can still be used). "
            f"Received: {where} without a format"
        )
    is_number = isinstance(found, int) and not isinstance(found, bool)
    if is_number and found > FORMAT:
        raise ValueError(
            "The run was made by a newer version of this program. Expected a run of "
            f"format {FORMAT}, or that version. Received: {where} of format "
            f"{reprlib.repr(found)}"
        )
    with _explained():
        if not is_number or found not in READ:
            raise ValueError(f"'format': {reprlib.repr(found)}")


def _flat(content):
    """Takes settings out of their groups; a file of format 2 or older has none."""
    flat = {}
    for name, value in content.items():
        if name in GROUPS and isinstance(value, dict):
            for own, setting in value.items():
                flat[GROUPS[name].get(own, f"{name}.{own}")] = setting
        else:
            flat[name] = value
    return flat


def _config(content):
    with _explained():
        _check_types(content)
    return Config.of(**content)


def _check_types(content):
    """Raises a `ValueError` where a setting is unknown or not of its type."""
    types = {name: field.type for name, (_, field) in FIELDS.items()}
    for name, value in content.items():
        if name in RETIRED:
            raise ValueError(f"{name}, which {RETIRED[name]}")
        kinds = (int, float) if types.get(name) is float else types.get(name, ())
        is_flag = isinstance(value, bool) and kinds is not bool
        if is_flag or not isinstance(value, kinds) or not _is_sane(value):
            raise ValueError(f"{reprlib.repr(name)}: {reprlib.repr(value)}")


def _is_sane(value):
    """Whether a number is finite and of a size that some setting may have."""
    return isinstance(value, str) or abs(value) < 1 << 63
