"""Reads the text of a csv file: its encoding, its separator, its header, its lines."""

import codecs
import csv
import io
import itertools
from pathlib import Path
from typing import NamedTuple

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# Columns by which a header is recognised.
KNOWN = ("image", "labels", "split", "is_valid", "annotation_id")
# Of the beginning of a file, to choose the separator by.
SAMPLE = 1 << 16
SAMPLE_LINES = 50


class CsvText(NamedTuple):
    """The content of a csv file.

    Args:
        header: The names of the columns, without spaces around them.
        lines: Pairs of a line's number in the file and its cells, as many as the
            header's.
        separator: The character between cells.
    """

    header: list[str]
    lines: list[tuple[int, list[str]]]
    separator: str


def read(path, tree):
    """Reads a csv file with a header.

    Cells are separated by commas, semicolons, tabs or vertical bars, whichever divides
    the header into known columns, or else into as many as the lines have. A line
    `sep=;`, as Excel writes, is obeyed. Columns without a name and without content, as
    spreadsheets leave them at the right, are left out; so are empty lines.

    Args:
        path: The file, in UTF-8, or in UTF-16 with a byte order mark.
        tree: The layout of the folder, for error messages.

    Returns:
        A `CsvText`.

    Raises:
        ValueError: The file is no text, is empty, or has a line with another number of
            cells than the header.
    """
    try:
        text = _decode(Path(path).read_bytes())
        text, separator = _separator(text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        lines = [
            (reader.line_num, line) for line in reader if any(map(str.strip, line))
        ]
    except (UnicodeError, csv.Error) as error:
        raise ValueError(
            f"{path} cannot be read. Expected comma-separated UTF-8 text (or separated "
            f"by semicolons or tabs). Received: {error}"
        ) from error
    if not lines:
        raise ValueError(
            f"{path} is empty. Expected a line of column names, as in\n{tree}\n"
            "Received: an empty file"
        )
    header = [name.strip() for name in lines[0][1]]
    width = max(i for i, name in enumerate(header) if name) + 1
    width = max(width, 1)
    body = []
    for number, line in lines[1:]:
        # A cell more than the header has is a mistake unless it is empty.
        while len(line) > width and not line[-1].strip():
            line.pop()
        if len(line) != width:
            raise ValueError(
                f"The columns of row {number} of {path} do not match the header. "
                f"Expected {width} of them, separated by {_name(separator)} as in the "
                f"header. Received: {line}"
            )
        body.append((number, line))
    return CsvText(header[:width], body, separator)


def _name(separator):
    return f"a {SEPARATORS[separator]}"


def _decode(content):
    # Excel's "Unicode text" is UTF-16; it also marks the beginning of UTF-8.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def _separator(text):
    """Returns the text without a line `sep=`, and the separator."""
    first, _, rest = text.partition("\n")
    first = first.rstrip("\r")
    if first.lower().startswith("sep=") and first[4:] in SEPARATORS:
        return rest, first[4:]
    sample = text[:SAMPLE]
    best, best_fit = ",", (0, 0.0, 0)
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
        try:
            lines = (line for line in reader if any(map(str.strip, line)))
            lines = list(itertools.islice(lines, SAMPLE_LINES))
        except csv.Error:
            continue
        if len(text) > SAMPLE and len(lines) > 1:
            # The last line of the sample may be cut.
            lines.pop()
        if not lines or len(lines[0]) < 2:
            continue
        header = [name.strip().lower() for name in lines[0]]
        known = sum(name in header for name in KNOWN)
        equal = sum(len(line) == len(header) for line in lines) / len(lines)
        fit = known, equal, len(header)
        if fit > best_fit:
            best, best_fit = separator, fit
    return text, best
