"""What was measured: kept in a file, figure by figure, and printed as a table."""

import json
import os
import pathlib
import platform

import keras
import tensorflow as tf

from ram_tf.storage.atomic_files import atomic_write


def add_output(parser):
    """Adds the flag that says in which file to keep what is measured."""
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path(__file__).with_name("results.json"),
        help="%(default)s",
    )


def machine():
    """What the figures may depend on beside the program, ready for JSON."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "processor": platform.machine(),
        # Programs that wanted to run in the last minute, this one included.
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def target(figure):
    """A `Figure`'s target as text, "" where it has none."""
    if figure.at_most is not None:
        return f"<= {figure.at_most:g}"
    return "" if figure.at_least is None else f">= {figure.at_least:g}"


def entry(measured, target, settings, machine):
    """The details of a figure, ready for JSON.

    Args:
        measured: What was `Measured`.
        target: As text.
        settings: The `Subject`'s settings that matter, a dict.
        machine: Of `machine`.

    Returns:
        A dict of `value`, `low`, `high`, `rounds`, `seconds` an image by candidate,
        `target`, `settings` and `machine`.
    """
    return {
        **measured._asdict(),
        "target": target,
        "settings": settings,
        "machine": machine,
    }


def read(path):
    """Reads what `update` wrote.

    Returns:
        The details of each figure by its name; empty where there is no file.

    Raises:
        ValueError: The file is no such file.
    """
    try:
        return json.loads(path.read_text())["details"]
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "The results cannot be read. Expected a file that these benchmarks wrote, "
            f"or none. Received: {path} ({error!r})"
        ) from error


def update(path, details):
    """Writes figures to a file, beside those of other names that it holds.

    It holds each figure under its name as a plain number, and `details`. It is
    replaced as a whole, or not at all.

    Args:
        path: Of the file.
        details: By name of the figure, its `entry`.

    Raises:
        ValueError: There is another file in the way.
    """
    details = {**read(path), **details}
    content = {name: each["value"] for name, each in details.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps({**content, "details": details}, indent=2) + "\n"
        )


def table(details):
    """Writes figures as the table that a person reads.

    Args:
        details: By name of the figure, its `entry`.

    Returns:
        Lines of text: name, target, figure, its range over the rounds, and the median
        milliseconds an image of what is compared.
    """
    rows = [("", "target", "figure", "rounds", "milliseconds an image")]
    for name, each in details.items():
        times = (f"{n} {1000 * s:.4g}" for n, s in each["seconds"].items())
        spread = f"{each['low']:.3g} to {each['high']:.3g}"
        row = name, each["target"], f"{each['value']:.3g}", spread, ", ".join(times)
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
