"""Calls serving_default for half an hour, and looks whether memory grows.

    python -m benchmarks.soak --model_dir saved_models/digits/1

One image a call, of mixed sizes and some of them broken, from 1, 2 and 4 clients at a
time in turns, each calling again when it has its answer. Every answer is compared with
the first one to the same image. Memory is the resident set after each turn; its slope
is that of a line through them all but those of the warm-up. The figures go into
benchmarks/results.json; it fails where the slope is above the target.
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
from ram_tf.serving.predict_files import find_images
from ram_tf.serving.predictor import Predictor

EDGES = (16, 64, 160, 320, 500, 1000, 2400)  # longer ones, in pixels
FLAT = 1.0  # MiB a minute


def mixed(encoded, share, count=200, seed=0):
    """Makes images of mixed sizes, and some that cannot be read.

    Args:
        encoded: JPEG or PNG files, as bytes.
        share: Of the broken ones, from 0 to 1.
        count: How many altogether.
        seed: Of the order and the breaks.

    Returns:
        A list of bytes, and a list that says of each whether it is whole.
    """
    random = np.random.default_rng(seed)
    images, whole = [], random.random(count) >= share
    for number in range(count):
        image = Image.open(io.BytesIO(encoded[number % len(encoded)])).convert("RGB")
        scale = EDGES[number % len(EDGES)] / max(image.size)
        image = image.resize([max(1, round(edge * scale)) for edge in image.size])
        file = io.BytesIO()
        image.save(file, ("JPEG", "PNG")[number // len(EDGES) % 2])
        images.append(file.getvalue())
        if not whole[number]:
            breaks = (
                images[-1][: random.integers(1, len(images[-1]) // 2)],
                b"",
                b"this is text",
                random.bytes(1000),
            )
            images[-1] = breaks[random.integers(len(breaks))]
    return images, whole.tolist()


def resident():
    """The resident set of this process, in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Soak:
    """Turns of calls, what they took, and what memory they left.

    Args:
        predictor: A `Predictor`.
        images: The images of the calls, as bytes.
        whole: Whether each can be read.

    Raises:
        ValueError: The model takes a broken image for a whole one, or the reverse.
    """

    def __init__(self, predictor, images, whole):
        self.predictor = predictor
        self.images = images
        self.first = [predictor([image]) for image in images]
        seen = [bool(answer["valid"][0]) for answer in self.first]
        if seen != whole:
            raise ValueError(
                "The model does not tell broken images. Expected "
                f"{len(whole) - sum(whole)} that cannot be read. Received: "
                f"{len(seen) - sum(seen)}, or others"
            )
        self.latencies = collections.defaultdict(list)  # seconds, by number of clients
        self.memory = []  # minutes and MiB

    def ask(self, number):
        """Calls the model; raises a ValueError where its answer is not the first."""
        answer, first = self.predictor([self.images[number]]), self.first[number]
        for name, value in first.items():
            if not np.allclose(answer[name], value, atol=1e-4):
                raise ValueError(
                    "An answer has changed. Expected the first one to the same image. "
                    f"Received: other {name}"
                )

    def run(self, minutes, clients, seconds, shown):
        """Lets numbers of clients call in turns until the time is over."""
        begin, numbers = time.monotonic(), list(range(len(self.images)))
        while time.monotonic() - begin < 60 * minutes:
            for count in clients:
                asked, _ = load(self.ask, numbers, count, seconds)
                self.latencies[count] += asked
                self.memory.append(((time.monotonic() - begin) / 60, resident()))
                shown.set_postfix(MiB=round(self.memory[-1][1]))
                shown.update(seconds)


def slope(memory, warm_up):
    """The growth of memory.

    Args:
        memory: Pairs of minutes and MiB.
        warm_up: Minutes at the beginning that do not count.

    Returns:
        The slope of a line through the others, MiB a minute, and its standard error.
    """
    at, used = np.array([each for each in memory if each[0] >= warm_up]).T
    line, covariance = np.polyfit(at, used, 1, cov=True)
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
        "--broken", type=float, default=0.1, help="share of images; %(default)s"
    )
    parser.add_argument(
        "--clients", nargs="+", type=int, default=(1, 2, 4), help="default: 1 2 4"
    )
    parser.add_argument("--minutes", type=float, default=30, help="%(default)s")
    parser.add_argument("--warm_up", type=float, default=5, help="minutes; %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=10, help="of each turn; %(default)s"
    )
    record.add_output(parser)
    arguments = parser.parse_args(argv)
    if min(arguments.clients) < 1 or arguments.seconds <= 0:
        parser.error("--clients: 1 or more, --seconds: above 0")
    turn = arguments.seconds * len(arguments.clients) / 60
    if not 0 <= arguments.warm_up <= arguments.minutes - 4 * turn:
        parser.error("--minutes: warm_up and four turns of each number of clients")
    if not 0 <= arguments.broken <= 1:
        parser.error("--broken: 0 to 1")
    return arguments


def main(argv):
    arguments = parse(argv)
    record.read(arguments.output)  # A file that cannot be updated is told at once.
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        paths = find_images(arguments.images or photographs.write(pathlib.Path(folder)))
        encoded = [path.read_bytes() for path in paths]
    predictor = Predictor.load(arguments.model_dir)
    soak = Soak(predictor, *mixed(encoded, arguments.broken))
    with tqdm(total=round(60 * arguments.minutes), unit="s", desc="soaking") as shown:
        soak.run(arguments.minutes, arguments.clients, arguments.seconds, shown)
    growth, error = slope(soak.memory, arguments.warm_up)
    record.update(arguments.output, entries(soak, growth, error, arguments))
    for count, taken in soak.latencies.items():
        p50, p99 = 1000 * np.percentile(taken, [50, 99])
        print(
            f"{count} at a time  {len(taken)} calls  p50 {p50:.0f} ms  p99 {p99:.0f} ms"
        )
    print(f"memory: {growth:+.2f} MiB a minute (standard error {error:.2f})")
    if growth > FLAT:
        raise ValueError(f"Memory is not flat. Expected {FLAT} MiB a minute or less.")
    return 0


def entries(soak, growth, error, arguments):
    """The figures as `record.update` takes them."""
    settings = {
        name: getattr(arguments, name) for name in ("minutes", "warm_up", "broken")
    }
    machine = record.machine()

    def entry(value, low, high, rounds, target=""):
        figure = {"value": value, "low": low, "high": high, "rounds": rounds}
        return {**figure, "target": target, "settings": settings, "machine": machine}

    found = {
        "soak_slope": entry(
            growth, growth - error, growth + error, len(soak.memory), f"<= {FLAT:g}"
        )
    }
    for count, taken in soak.latencies.items():
        for percent in (50, 99):
            value = float(np.percentile(taken, percent))
            found[f"soak_{count}_p{percent}"] = entry(
                value, min(taken), max(taken), len(taken)
            )
    return found


if __name__ == "__main__":
    raise SystemExit(command.run(main))
