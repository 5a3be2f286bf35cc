"""Stores benchmark results in a JSON file and prints them as a table."""

import datetime
import json
import os
import pathlib
import platform

import keras
import tensorflow as tf

from ram_tf.storage.atomic_files import atomic_write


def add_output(parser):
    """Adds the flag `--output`, the file for the results."""
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path(__file__).with_name("results.json"),
        help="file for the results; %(default)s",
    )


def machine():
    """Collects the day and what of the machine results depend on, ready for JSON."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "processor": _processor(),
        # Runnable processes, averaged over the last minute, including this one.
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _processor():
    """Returns the processor's name, where the system tells it, and its widest AVX."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    fields = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    flags = fields.get("flags", "").split()
    widest = [name for name in ("avx512f", "avx2") if name in flags][:1]
    name = fields.get("model name", platform.machine()).strip()
    return ", ".join([name, *widest])


def target(ratio):
    """Returns a `Ratio`'s target as text, or "" if it has none."""
    if ratio.at_most is not None:
        return f"<= {ratio.at_most:g}"
    return "" if ratio.at_least is None else f">= {ratio.at_least:g}"


def entry(measured, target, settings, machine):
    """Returns the details of a ratio, ready for JSON.

    Args:
        measured: A `Measured`; its fields become keys.
        target: The target as text.
        settings: A dict of the `Subject`'s relevant settings.
        machine: The dict of `machine()`.
    """
    return {
        **measured._asdict(),
        "target": target,
        "settings": settings,
        "machine": machine,
    }


def read(path):
    """Reads the details of each ratio, by name; empty if there is no file.

    Raises:
        ValueError: The file was not written by `update`.
    """
    try:
        return json.loads(path.read_text())["details"]
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "The results cannot be read. Expected a file written by these benchmarks, "
            f"or no file (--output). Received: {path} ({error!r})"
        ) from error


def update(path, details):
    """Writes results to a file, and keeps those of other names in it.

    The file holds the value of each result under its name, and all `details`. It is
    written atomically.

    Args:
        path: The path of the file.
        details: The `entry` of each result, by name.

    Raises:
        ValueError: The existing file was not written by this function.
    """
    details = {**read(path), **details}
    content = {name: result["value"] for name, result in details.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps({**content, "details": details}, indent=2) + "\n"
        )


def table(details):
    """Formats ratios as a table with their ranges and the candidates' median times.

    Args:
        details: The `entry` of each ratio, by name.
    """
    rows = [("", "target", "ratio", "rounds", "milliseconds per image")]
    for name, result in details.items():
        times = ", ".join(f"{n} {1000 * s:.4g}" for n, s in result["seconds"].items())
        spread = f"{result['low']:.3g} to {result['high']:.3g}"
        rows.append((name, result["target"], f"{result['value']:.3g}", spread, times))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
