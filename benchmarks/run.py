"""Measures how fast the package is, as ratios within one process.

    python -m benchmarks.run
    python -m benchmarks.run --backbone vgg16 --only model_over_backbone --rounds 3
    python -m benchmarks.run --model rarl

Prints a table and writes benchmarks/results.json. The figures are of VGG-16 at 512
pixels and, with the ending _mobilenet_v2, of MobileNetV2 at 320, at batches of 8, with
random weights: speed does not depend on them. RARL's names end in _rarl. Nothing else
should run on the machine. Each group of figures is kept as soon as it is measured:
after an interruption --only measures the others.
"""

import argparse
import gc
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import keras

from benchmarks import (
    forward,
    input_pipeline,
    record,
    saved_model,
    timing,
    training_step,
)
from benchmarks.subject import Subject
from ram_tf.cli import command
from ram_tf.models import backbones


class Group(NamedTuple):
    """Figures that are measured together.

    Args:
        title: Of the progress bar.
        figures: `Figure`s.
        candidates: From a `Subject` to `Candidate`s by name.
    """

    title: str
    figures: tuple[timing.Figure, ...]
    candidates: Callable


GROUPS = (
    Group("forward", forward.FIGURES, forward.candidates),
    Group("input pipeline", input_pipeline.FIGURES, input_pipeline.candidates),
    Group("SavedModel", saved_model.FIGURES, saved_model.candidates),
    Group("training step", training_step.FIGURES, training_step.candidates),
    Group("bfloat16", training_step.BFLOAT16, training_step.in_bfloat16),
    Group("XLA", training_step.XLA, training_step.with_xla),
)
PLAIN = "vgg16"  # its figures have plain names, and the targets are for it
NAMES = tuple(figure.name for group in GROUPS for figure in group.figures)


def full_name(name, backbone, model="rdar"):
    """The name of a figure in the results."""
    name = name if backbone == PLAIN else f"{name}_{backbone}"
    return name if model == "rdar" else f"{name}_{model}"


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--backbone",
        nargs="+",
        choices=tuple(backbones.BACKBONES),
        default=(PLAIN, "mobilenet_v2"),
        help="default: vgg16 mobilenet_v2",
    )
    parser.add_argument(
        "--model", choices=("rdar", "rarl"), default="rdar", help="%(default)s"
    )
    parser.add_argument("--image_size", type=int, help="N; default: 512 and 320")
    parser.add_argument("--batch_size", type=int, default=8, help="%(default)s")
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each is timed; %(default)s"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"figures to measure, with or without ending: {', '.join(NAMES)}",
    )
    record.add_output(parser)
    arguments = parser.parse_args(argv)
    full = {full_name(n, b, arguments.model) for n in NAMES for b in arguments.backbone}
    known = full | {*NAMES}
    unknown = set(arguments.only or ()) - known
    if unknown:
        parser.error(f"--only: no such figure: {', '.join(sorted(unknown))}")
    if arguments.rounds < 1:
        parser.error("--rounds: 1 or more")
    return arguments


def main(argv):
    arguments = parse(argv)
    record.read(arguments.output)  # A file that cannot be updated is told at once.
    measured = {}
    try:
        for backbone in arguments.backbone:
            for group in GROUPS:
                found = measure(group, backbone, arguments)
                if found:
                    record.update(arguments.output, found)
                    measured |= found
    finally:
        if measured:
            print(record.table(measured))
    return 0


def measure(group, backbone, arguments):
    """Measures those figures of a group that are asked for.

    Args:
        group: A `Group`.
        backbone: A key of `backbones.BACKBONES`.
        arguments: Parsed flags.

    Returns:
        By full name of the figure, its `record.entry`.
    """
    only, model = arguments.only, arguments.model
    figures = [
        figure
        for figure in group.figures
        if not only or {figure.name, full_name(figure.name, backbone, model)} & {*only}
    ]
    if not figures:
        return {}
    machine = record.machine()
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        size, batch = arguments.image_size, arguments.batch_size
        subject = Subject.of(folder, backbone, size, batch, model)
        found = timing.measure(
            figures,
            group.candidates(subject),
            arguments.rounds,
            f"{backbone}: {group.title}",
        )
    regions = subject.settings.attention.regions
    if model == "rarl":
        regions = subject.settings.attention.steps * subject.settings.regions_a_step
    settings = {
        "backbone": backbone,
        "weights": subject.settings.model.weights,
        "image_size": subject.settings.image.image_size,
        "crop": subject.settings.image.crop,
        "batch_size": batch,
        "model": model,
        "regions": regions,
        "units": subject.settings.attention.units,
    }
    # The next group has models of its own, and VGG-16's fill gigabytes.
    del subject
    keras.utils.clear_session()
    gc.collect()
    entries = {}
    for figure in figures:
        name = full_name(figure.name, backbone, model)
        # The paper's claims are of RDAR with VGG-16.
        target = record.target(figure) if name == figure.name else ""
        entries[name] = record.entry(found[figure.name], target, settings, machine)
    return entries


if __name__ == "__main__":
    raise SystemExit(command.run(main))
