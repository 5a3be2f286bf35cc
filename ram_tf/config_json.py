"""Reads `config.json`, which may come from elsewhere: nothing in it is believed."""

import dataclasses
import json
import reprlib

from ram_tf.config import Config
from ram_tf.split import check_label_names


def from_json(text):
    """Reads what `Config.to_json` wrote.

    Args:
        text: A string, or the bytes of the file.

    Returns:
        The `Config` and the tuple of label names.

    Raises:
        ValueError: The text is no configuration of this program.
    """
    try:
        content = json.loads(text)
        label_names = tuple(content.pop("label_names"))
        _check_types(content)
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
    check_label_names(label_names, "config.json")
    return Config(**content), label_names


def _check_types(content):
    """Raises a `ValueError` where a setting is unknown or not of its type."""
    types = {field.name: field.type for field in dataclasses.fields(Config)}
    for name, value in content.items():
        kinds = (int, float) if types.get(name) is float else types.get(name, ())
        is_flag = isinstance(value, bool) and kinds is not bool
        if is_flag or not isinstance(value, kinds) or not _is_sane(value):
            raise ValueError(f"{reprlib.repr(name)}: {reprlib.repr(value)}")


def _is_sane(value):
    """Whether a number is finite and of a size that some setting may have."""
    return isinstance(value, str) or abs(value) < 1 << 63
