"""Makes a value for every setting that is not its default."""

from ram_tf.runs.config import FIELDS, FOLDERS


def other_value(name):
    """Returns a valid value of a setting that is not the default."""
    field = FIELDS[name][1]
    if field.metadata["choices"]:
        return field.metadata["choices"][-1]
    if name in FOLDERS:
        return "/x"  # which flags leave as it is
    if field.name == "constraints":
        return "S"  # content has no anchors
    if field.name == "zooms":
        return "1,1.5"
    if field.name == "pooled_units":
        return 0  # which probe_cost demands
    if field.type is str:
        return f"{field.default}x"
    if field.type is bool:
        return not field.default
    if field.type is int:
        return field.default - 1 if field.default else 600
    return field.default / 2 if field.default else 0.2
