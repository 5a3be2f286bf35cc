"""Plain-text tables."""


def align(rows):
    """Aligns the first column of a table to the left and the others to the right.

    Args:
        rows: Sequences of cells, strings; all of the same length.

    Returns:
        A list of lines; columns are two spaces apart.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        padded = [c.rjust(width) for c, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]).rstrip())
    return lines
