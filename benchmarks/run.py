"""Measures the speed of the package as ratios within one process.

    python -m benchmarks.run
    python -m benchmarks.run --backbone vgg16 --only model_over_backbone --rounds 3
    python -m benchmarks.run --model rarl

Prints a table and writes benchmarks/results.json. The ratios are for VGG-16 at 512
pixels and, with the suffix _mobilenet_v2, for MobileNetV2 at 320, in batches of 8, with
random weights, which do not change the speed. Names for RARL end in _rarl. Nothing else
should run on the machine. Each group of ratios is stored as soon as it is measured;
after an interruption, --only measures the others.
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
    reading,
    record,
    saved_model,
    timing,
    training_step,
)
from benchmarks.subject import Subject
from ram_tf.cli import command
from ram_tf.models import backbones


class Group(NamedTuple):
    """Ratios that are measured together.

    Args:
        title: Title of the progress bar.
        ratios: The `Ratio`s.
        candidates: A function from a `Subject` to `Candidate`s by name.
    """

    title: str
    ratios: tuple[timing.Ratio, ...]
    candidates: Callable


GROUPS = (
    Group("forward", forward.RATIOS, forward.candidates),
    Group("input pipeline", input_pipeline.RATIOS, input_pipeline.candidates),
    Group("reading", reading.RATIOS, reading.candidates),
    Group("SavedModel", saved_model.RATIOS, saved_model.candidates),
    Group("training step", training_step.RATIOS, training_step.candidates),
    Group("bfloat16", training_step.BFLOAT16, training_step.in_bfloat16),
    Group("XLA", training_step.XLA, training_step.with_xla),
)
NO_SUFFIX = "vgg16"  # the backbone of names without a suffix, and of the targets
NAMES = tuple(ratio.name for group in GROUPS for ratio in group.ratios)


def full_name(name, backbone, model="rdar"):
    """Returns the name of a ratio in the results."""
    name = name if backbone == NO_SUFFIX else f"{name}_{backbone}"
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
        default=(NO_SUFFIX, "mobilenet_v2"),
        help="default: vgg16 mobilenet_v2",
    )
    parser.add_argument(
        "--model", choices=("rdar", "rarl"), default="rdar", help="%(default)s"
    )
    parser.add_argument("--image_size", type=int, help="N; default: 512 and 320")
    parser.add_argument("--batch_size", type=int, default=8, help="%(default)s")
    parser.add_argument(
        "--rounds", type=int, default=5, help="timed rounds; %(default)s"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"ratios to measure, with or without suffix: {', '.join(NAMES)}",
    )
    record.add_output(parser)
    arguments = parser.parse_args(argv)
    full = {full_name(n, b, arguments.model) for n in NAMES for b in arguments.backbone}
    unknown = set(arguments.only or ()) - full - {*NAMES}
    if unknown:
        parser.error(f"--only: unknown ratio: {', '.join(sorted(unknown))}")
    if arguments.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    return arguments


def main(argv):
    arguments = parse(argv)
    record.read(arguments.output)  # Fails early on a wrong file.
    measured = {}
    try:
        for backbone in arguments.backbone:
            for group in GROUPS:
                entries = measure(group, backbone, arguments)
                if entries:
                    record.update(arguments.output, entries)
                    measured |= entries
    finally:
        if measured:
            print(record.table(measured))
    return 0


def measure(group, backbone, arguments):
    """Measures those ratios of a `Group` that `--only` selects.

    Returns:
        The `record.entry` of each ratio, by full name.
    """
    only, model = arguments.only, arguments.model
    ratios = [
        ratio
        for ratio in group.ratios
        if not only or {ratio.name, full_name(ratio.name, backbone, model)} & {*only}
    ]
    if not ratios:
        return {}
    machine = record.machine()
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        size, batch = arguments.image_size, arguments.batch_size
        subject = Subject.of(folder, backbone, size, batch, model)
        measured = timing.measure(
            ratios,
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
    # The next group builds its own models, and those of VGG-16 take gigabytes.
    del subject
    keras.utils.clear_session()
    gc.collect()
    entries = {}
    for ratio in ratios:
        name = full_name(ratio.name, backbone, model)
        # The paper's claims are for RDAR with VGG-16.
        target = record.target(ratio) if name == ratio.name else ""
        entries[name] = record.entry(measured[ratio.name], target, settings, machine)
    return entries


if __name__ == "__main__":
    raise SystemExit(command.run(main))
