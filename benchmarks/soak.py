"""Calls serving_default for half an hour and measures the growth of memory.

    python -m benchmarks.soak --model_dir saved_models/digits/1

1, 2 and 4 clients call it in turns, with one image per call. Images have mixed sizes,
and some are broken. Every answer is compared with the first for the same image. Memory
is the resident set after each turn; a line through all turns after the warm-up gives
its slope. The results are written to benchmarks/results.json. The command fails if the
slope is above the target.
"""

import argparse
import collections
import io
import pathlib
import tempfile
import time

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks import photographs, record
from benchmarks.serving import load
from ram_tf.cli import command
from ram_tf.serving.image_search import find_images
from ram_tf.serving.predictor import Predictor

EDGES = (16, 64, 160, 320, 500, 1000, 2400)  # longer edges in pixels
FLAT = 1.0  # largest allowed slope in MiB per minute


def mixed_images(encoded, share, count=200, seed=0):
    """Encodes images of mixed sizes, some of them broken.

    Args:
        encoded: JPEG or PNG files, as bytes.
        share: The share of broken images, from 0 to 1.
        count: The number of images.
        seed: The seed of what is broken, and how.

    Returns:
        A list of bytes, and a list of whether each image is readable.
    """
    random = np.random.default_rng(seed)
    images, readable = [], random.random(count) >= share
    for number in range(count):
        image = Image.open(io.BytesIO(encoded[number % len(encoded)])).convert("RGB")
        scale = EDGES[number % len(EDGES)] / max(image.size)
        image = image.resize([max(1, round(edge * scale)) for edge in image.size])
        file = io.BytesIO()
        image.save(file, ("JPEG", "PNG")[number // len(EDGES) % 2])
        images.append(file.getvalue())
        if not readable[number]:
            breaks = (
                images[-1][: random.integers(1, len(images[-1]) // 2)],
                b"",
                b"this is text",
                random.bytes(1000),
            )
            images[-1] = breaks[random.integers(len(breaks))]
    return images, readable.tolist()


def resident():
    """Returns the resident set size of this process in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Soak:
    """Calls a model in turns, and records latencies and memory.

    Args:
        predictor: A `Predictor`.
        images: The images of the calls, as bytes.
        readable: Whether each image is readable.

    Raises:
        ValueError: The model's `valid` differs from `readable`.
    """

    def __init__(self, predictor, images, readable):
        self.predictor = predictor
        self.images = images
        self.first = [predictor([image]) for image in images]
        valid = [bool(answer["valid"][0]) for answer in self.first]
        if valid != readable:
            raise ValueError(
                "The model does not recognise the broken images. Expected "
                f"{len(readable) - sum(readable)} unreadable images. Received: "
                f"{len(valid) - sum(valid)}, or others"
            )
        self.latencies = collections.defaultdict(list)  # seconds, by number of clients
        self.memory = []  # pairs of minutes and MiB

    def check_answer(self, number):
        """Calls the model; raises a ValueError if its answer differs from the first."""
        answer, first = self.predictor([self.images[number]]), self.first[number]
        for name, value in first.items():
            if not np.allclose(answer[name], value, atol=1e-4):
                raise ValueError(
                    "An answer has changed. Expected the first answer for the image. "
                    f"Received: different {name}"
                )

    def run(self, minutes, clients, seconds, bar):
        """Runs turns of `seconds` with each number of clients for `minutes`."""
        begin, numbers = time.monotonic(), list(range(len(self.images)))
        while time.monotonic() - begin < 60 * minutes:
            for count in clients:
                taken, _ = load(self.check_answer, numbers, count, seconds)
                self.latencies[count] += taken
                self.memory.append(((time.monotonic() - begin) / 60, resident()))
                bar.set_postfix(MiB=round(self.memory[-1][1]))
                bar.update(seconds)


def slope(memory, warm_up):
    """Computes the growth of memory.

    Args:
        memory: Pairs of minutes and MiB.
        warm_up: The minutes at the beginning that are left out.

    Returns:
        The slope of a line through the rest in MiB per minute, and its standard error.
    """
    minutes, used = np.array([each for each in memory if each[0] >= warm_up]).T
    line, covariance = np.polyfit(minutes, used, 1, cov=True)
    return float(line[0]), float(np.sqrt(covariance[0, 0]))


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model_dir", required=True, help="a version of a SavedModel")
    parser.add_argument(
        "--images", nargs="+", help="files or folders; default: 32 photographs"
    )
    parser.add_argument(
        "--broken", type=float, default=0.1, help="share of broken images; %(default)s"
    )
    parser.add_argument(
        "--clients", nargs="+", type=int, default=(1, 2, 4), help="default: 1 2 4"
    )
    parser.add_argument("--minutes", type=float, default=30, help="%(default)s")
    parser.add_argument("--warm_up", type=float, default=5, help="minutes; %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=10, help="length of a turn; %(default)s"
    )
    record.add_output(parser)
    arguments = parser.parse_args(argv)
    if min(arguments.clients) < 1 or arguments.seconds <= 0:
        parser.error("--clients must be 1 or more, --seconds above 0")
    turn = arguments.seconds * len(arguments.clients) / 60
    if not 0 <= arguments.warm_up <= arguments.minutes - 4 * turn:
        parser.error("--minutes: must exceed --warm_up by four turns per --clients")
    if not 0 <= arguments.broken <= 1:
        parser.error("--broken: must be from 0 to 1")
    return arguments


def main(argv):
    arguments = parse(argv)
    record.read(arguments.output)  # Fails early on a wrong file.
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        paths = find_images(arguments.images or photographs.write(pathlib.Path(folder)))
        encoded = [path.read_bytes() for path in paths]
    predictor = Predictor.load(arguments.model_dir)
    soak = Soak(predictor, *mixed_images(encoded, arguments.broken))
    with tqdm(total=round(60 * arguments.minutes), unit="s", desc="soaking") as bar:
        soak.run(arguments.minutes, arguments.clients, arguments.seconds, bar)
    growth, error = slope(soak.memory, arguments.warm_up)
    record.update(arguments.output, entries(soak, growth, error, arguments))
    for count, taken in soak.latencies.items():
        p50, p99 = 1000 * np.percentile(taken, [50, 99])
        print(
            f"{count} clients  {len(taken)} calls  p50 {p50:.0f} ms  p99 {p99:.0f} ms"
        )
    print(f"memory: {growth:+.2f} MiB per minute (standard error {error:.2f})")
    if growth > FLAT:
        raise ValueError(
            f"Memory grows. Expected {FLAT} MiB per minute or less. Received: {growth}"
        )
    return 0


def entries(soak, growth, error, arguments):
    """Returns the results in the form of `record.update`."""
    settings = {
        name: getattr(arguments, name) for name in ("minutes", "warm_up", "broken")
    }
    machine = record.machine()

    def entry(value, low, high, rounds, target=""):
        result = {"value": value, "low": low, "high": high, "rounds": rounds}
        return {**result, "target": target, "settings": settings, "machine": machine}

    results = {
        "soak_slope": entry(
            growth, growth - error, growth + error, len(soak.memory), f"<= {FLAT:g}"
        )
    }
    for count, taken in soak.latencies.items():
        for percent in (50, 99):
            value = float(np.percentile(taken, percent))
            results[f"soak_{count}_p{percent}"] = entry(
                value, min(taken), max(taken), len(taken)
            )
    return results


if __name__ == "__main__":
    raise SystemExit(command.run(main))
