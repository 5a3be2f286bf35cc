"""Reads and validates `config.json`, which may come from an untrusted source.

All settings of a run are read, since its models are built from them. For an exported
model only those in `SERVED` are read, so that it can still be served when others are
renamed or removed.
"""

import contextlib
import json
import pathlib
import reprlib

from ram_tf.data.split import check_label_names
from ram_tf.runs.config import FIELDS, FORMAT, RETIRED, Config

# Settings that an exported model needs: its preprocessing, its name, and its dataset as
# the default of evaluation.
SERVED = (
    "dataset data_dir train_split val_split report_split split_fraction division year "
    "manual_dir difficult negatives skip_unreadable max_pixels truncated name "
    "image_size crop_margin model regions steps loss batch_size"
).split()

LARGEST = 1 << 24  # bytes of a file of settings, whose labels take most
# Formats that this version reads; 2 differs only in the layout of this file.
READABLE_FORMATS = (2, FORMAT)
# Of files without these settings: what the versions did that wrote them.
EARLIER = {"division": "random"}
# Group name -> field name -> flag name.
GROUPS = {
    group: {
        field.name: flag for flag, (owner, field) in FIELDS.items() if owner == group
    }
    for group, _ in FIELDS.values()
    if group
}


def from_json(text, where="config.json"):
    """Reads the `config.json` of a run, as written by `Config.to_json`.

    Args:
        text: Content of the file, str or bytes.
        where: Name of the file in error messages.

    Returns:
        The `Config` and the tuple of label names.

    Raises:
        ValueError: The text is no configuration of this program, or one of a version
            whose runs this version cannot read.
    """
    with _explain_errors():
        content, label_names = _parse(text)
    _check_format(content, where)
    with _explain_errors():
        content = {**EARLIER, **_flat(content)}
    return _config(content), _check_names(label_names)


def from_exported_json(text):
    """Reads the `config.json` of an exported model, written by any version.

    Args:
        text: Content of the file, str or bytes.

    Returns:
        A `Config` with the settings in `SERVED` (all others have their defaults), and
        the tuple of label names.

    Raises:
        ValueError: The text is no configuration of this program.
    """
    with _explain_errors():
        content, label_names = _parse(text)
    with _explain_errors():
        content = _flat(content)
    served = {name: content[name] for name in SERVED if name in content}
    served = {**EARLIER, **served}
    return _config(served), _check_names(label_names)


def read_settings(path):
    """Reads settings for a new run from a file of `Config.to_json`, or one by hand.

    Label names in it are not used, because a new run takes those of its data.

    Args:
        path: The file.

    Returns:
        A dict of settings by flag name, and whether they are all, as in a run's
        `config.json`, which has a format: those that it lacks are as in that run. A
        file by hand has no format and may hold any of them, with or without groups.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no file of settings, or one of a newer version.
    """
    if not pathlib.Path(path).exists() or pathlib.Path(path).is_dir():
        raise FileNotFoundError(
            "There is no such file of settings. Expected --config with a run's "
            f"config.json, or a file of some settings. Received: {path}"
        )
    what, expected = f"file of settings: {path}", "those of a run's config.json"
    with open(path, "rb") as file:
        text = file.read(LARGEST + 1)
    with _explain_errors(what, expected):
        if len(text) > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        content = json.loads(text)
        content.pop("label_names", None)
    whole = "format" in content
    if whole:
        _check_format(content, path)
    with _explain_errors(what, expected):
        content = {**(EARLIER if whole else {}), **_flat(content)}
        _check_types(content)
    return content, whole


@contextlib.contextmanager
def _explain_errors(
    what="configuration that fit.py wrote",
    expected="a config.json with label_names and the settings of a run",
):
    """Turns any error in its block into a `ValueError` on the configuration."""
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
            f"This is no {what}. Expected {expected}. Received: {error}"
        ) from error


def _parse(text):
    """Returns the dict of settings and the tuple of label names, both unchecked."""
    content = json.loads(text)
    return content, tuple(content.pop("label_names"))


def _check_names(label_names):
    check_label_names(label_names, "config.json")
    return label_names


def _check_format(content, where):
    """Removes the format number and raises a `ValueError` if it is not readable."""
    missing = "format" not in content
    found = content.pop("format", None)
    if missing:
        raise ValueError(
            "The run was trained by a version before 0.2, whose weights this version "
            f"cannot use. Expected a run of format {FORMAT}: train again, into another "
            "--output_dir (models that were exported from it can still be used). "
            f"Received: {where} without a format"
        )
    is_number = isinstance(found, int) and not isinstance(found, bool)
    if is_number and found > FORMAT:
        raise ValueError(
            "The run was trained by a newer version of this program. Expected a run of "
            f"format {FORMAT}, or the newer version. Received: {where} of format "
            f"{reprlib.repr(found)}"
        )
    with _explain_errors():
        if not is_number or found not in READABLE_FORMATS:
            raise ValueError(f"'format': {reprlib.repr(found)}")


def _flat(content):
    """Takes settings out of their groups; format 2 and older have no groups."""
    flat = {}
    for name, value in content.items():
        if name in GROUPS and isinstance(value, dict):
            for field, setting in value.items():
                flat[GROUPS[name].get(field, f"{name}.{field}")] = setting
        else:
            flat[name] = value
    return flat


def _config(content):
    with _explain_errors():
        _check_types(content)
    return Config.of(**content)


def _check_types(content):
    """Raises a `ValueError` if a setting is unknown or not of its type."""
    types = {name: field.type for name, (_, field) in FIELDS.items()}
    for name, value in content.items():
        if name in RETIRED:
            raise ValueError(f"{name}, which {RETIRED[name]}")
        kinds = (int, float) if types.get(name) is float else types.get(name, ())
        is_wrong_bool = isinstance(value, bool) and kinds is not bool
        if is_wrong_bool or not isinstance(value, kinds) or not _is_reasonable(value):
            raise ValueError(f"{reprlib.repr(name)}: {reprlib.repr(value)}")


def _is_reasonable(value):
    """Returns whether a value is a string, or a finite number below 2 ** 63."""
    return isinstance(value, str) or abs(value) < 1 << 63
