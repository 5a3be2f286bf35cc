"""Reads single cells of a csv file: a mark of a label, a list of labels, a split."""

import re

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# Of `is_valid`, whose rows are for validation or, otherwise, for training.
_YES_NO = {"true": "val", "false": "train", "1": "val", "0": "train"}
_MARKS = {"true": 1, "false": 0, "": -1}
_MARKS |= dict.fromkeys(("nan", "na", "n/a", "<na>", "none", "null"), -1)
_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# A list of strings as Python, NumPy or JSON write it.
_LIST = re.compile(rf"[\[({{]\s*(?:{_STRING}(?:[\s,]+{_STRING})*[\s,]*)?[\])}}]")


def mark(cell):
    """Returns 1, 0 or -1 of a cell in a label's column, None if it is none of these.

    Besides these numbers, also as `1.0`, a cell may be `True` or `False` in any case;
    nothing, or what pandas and R write in its place (`nan`, `NA`), is unknown.
    """
    cell = cell.strip().lower()
    if cell in _MARKS:
        return _MARKS[cell]
    if len(cell) > 40:
        return None
    try:
        # European spreadsheets write a decimal comma.
        number = float(cell.replace(",", "."))
    except ValueError:
        return None
    return int(number) if number in (1, 0, -1) else None


def column_mark(cell, name, where):
    """Returns 1, 0 or -1 of a cell in a label's column.

    Raises:
        ValueError: It is none of these.
    """
    found = mark(cell)
    if found is None:
        raise ValueError(
            f"The label {name!r} in {where} cannot be read. Expected 1, 0, or -1 or "
            "nothing if it is unknown (or one column 'labels' with names separated by "
            f"';'). Received: {cell!r}"
        )
    return found


def named_marks(cell, where):
    """Returns the labels that a cell lists: a dict from name to 1, or -1 after a `?`.

    The names are separated by `;`; a list as Python and JSON write it is read, too.

    Raises:
        ValueError: The cell is no such list.
    """
    marks = {}
    for entry in _entries(cell):
        entry = entry.strip()
        name, value = (entry[1:].strip(), -1) if entry.startswith("?") else (entry, 1)
        if not name and not entry:
            continue
        if not name or marks.get(name, value) != value:
            raise ValueError(
                f"The labels of {where} cannot be read. Expected names separated by "
                f"';', unknown ones as '?name', and no name as both. "
                f"Received: {cell!r}"
            )
        marks[name] = value
    return marks


def split_name(cell, column, where):
    """Returns "train", "val" or "test" of a cell in a column `split` or `is_valid`.

    Raises:
        ValueError: The cell names no split.
    """
    value = cell.strip().lower()
    if column.lower() == "is_valid":
        value = value.removesuffix(".0")
        known, expected = _YES_NO, "True or False, or 1 or 0"
    else:
        known, expected = SPLIT_NAMES, "train, val or test (or training, valid, ...)"
    if value not in known:
        raise ValueError(
            f"The column {column!r} of {where} names no split. Expected {expected}. "
            f"Received: {cell!r}"
        )
    return known[value]


def _entries(cell):
    text = cell.strip()
    if text[:1] in ("[", "(", "{") and _LIST.fullmatch(text):
        return [
            re.sub(r"\\(.)", r"\1", string[1:-1])
            for string in re.findall(_STRING, text)
        ]
    return cell.split(";")
