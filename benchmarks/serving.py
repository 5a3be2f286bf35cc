"""Measures a running server: requests a second, latency, the model's share of it.

    python -m benchmarks.serving --model_dir saved_models/digits/1 \
        --url http://localhost:8080/v1/models/digits:predict

asks it about photographs, with 1, 2 and 4 clients at a time, each sending its next
request when the last one is answered; prints a table and writes the figures to
benchmarks/results.json. In turns with the server, the SavedModel's serving_default is
called directly by as many threads: `share` is the median time of such a call over the
median latency. So --model_dir has to be the version that the server has, on the same
machine, where nothing else should run.
"""

import argparse
import concurrent.futures
import pathlib
import statistics
import tempfile
import threading
import time

import numpy as np
from tqdm import tqdm

from benchmarks import photographs, record
from ram_tf.cli import command
from ram_tf.serving.clients import connection
from ram_tf.serving.predict_files import find_images
from ram_tf.serving.predictor import Predictor


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model_dir", required=True, help="the version it serves")
    parser.add_argument("--url", required=True, help="as of predict.py")
    parser.add_argument(
        "--images", nargs="+", help="files or folders; default: 32 photographs"
    )
    parser.add_argument(
        "--clients", nargs="+", type=int, default=(1, 2, 4), help="default: 1 2 4"
    )
    parser.add_argument(
        "--batch_size", type=int, default=1, help="images a request; %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns; %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=10, help="of each turn; %(default)s"
    )
    record.add_output(parser)
    arguments = parser.parse_args(argv)
    for name in ("batch_size", "rounds", "seconds"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name}: above 0")
    if min(arguments.clients) < 1:
        parser.error("--clients: 1 or more")
    return arguments


def main(argv):
    arguments = parse(argv)
    record.read(arguments.output)  # A file that cannot be updated is told at once.
    machine = record.machine()
    remote = connection.connect(arguments.url, retries=0)
    local = Predictor.load(arguments.model_dir)
    batches = read_batches(arguments.images, arguments.batch_size)
    require_the_same(remote(batches[0]), local(batches[0]), arguments)
    protocol = "grpc" if arguments.url.startswith("grpc") else "rest"
    settings = {"protocol": protocol, "batch_size": arguments.batch_size}
    found = {}
    for count in arguments.clients:
        measured = measure(
            remote, local, batches, count, arguments.rounds, arguments.seconds
        )
        for name, each in measured.items():
            full = f"serving_{protocol}_{count}_{name}"
            found[full] = {
                **each,
                "target": "",
                "settings": {**settings, "clients": count},
                "machine": machine,
            }
        record.update(arguments.output, found)
        print(row(count, measured), flush=True)
    return 0


def read_batches(images, size):
    """The requests: lists of `size` encoded images, round and round through the files.

    Args:
        images: Files or folders; None for made photographs.
        size: Images a request.

    Returns:
        As many requests as there are files.
    """
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        paths = find_images(images or photographs.write(pathlib.Path(folder)))
        encoded = [path.read_bytes() for path in paths]
    return [
        [encoded[(start + i) % len(encoded)] for i in range(size)]
        for start in range(0, len(encoded) * size, size)
    ]


def require_the_same(seen, expected, arguments):
    """Raises a ValueError where the server has another model than the folder."""
    seen, expected = seen["scores"], expected["scores"]
    if seen.shape != expected.shape or not np.allclose(seen, expected, atol=1e-4):
        raise ValueError(
            "The server has another model. Expected the scores of "
            f"{arguments.model_dir}. Received: others from {arguments.url}"
        )


def measure(remote, local, batches, clients, rounds, seconds):
    """Measures a server and the model by itself, in turns.

    Args:
        remote: The client.
        local: The `Predictor` of the same model.
        batches: The requests, lists of encoded images.
        clients: How many ask at a time.
        rounds: How often each has its turn; one more before does not count.
        seconds: Of a turn.

    Returns:
        By name (`requests_a_second`, `p50`, `p99` in seconds, `share`): its `value`
        over all rounds, `low` and `high` among them, and how many `rounds`.
    """
    figures, latencies, calls, rates = [], [], [], []
    for number in tqdm(range(-1, rounds), desc=f"{clients} clients", leave=False):
        asked, lasted = load(remote, batches, clients, seconds)
        called, _ = load(local, batches, clients, seconds)
        if number >= 0:
            rates.append(len(asked) / lasted)
            figures.append(summary(asked, called, rates[-1]))
            latencies += asked
            calls += called
    whole = summary(latencies, calls, statistics.median(rates))
    return {
        name: {
            "value": value,
            "low": min(figure[name] for figure in figures),
            "high": max(figure[name] for figure in figures),
            "rounds": rounds,
        }
        for name, value in whole.items()
    }


def load(ask, batches, clients, seconds, clock=time.perf_counter):
    """Lets clients ask one request after another, all at the same time.

    Args:
        ask: From a list of encoded images to outputs.
        batches: The requests; each client begins at another.
        clients: How many.
        seconds: After which no further request begins.
        clock: Returns seconds.

    Returns:
        The seconds of each request, and those from the first's start to the last's end.
    """
    together = threading.Barrier(clients)

    def run(number):
        together.wait()
        start = now = clock()
        taken = []
        while not taken or now - start < seconds:
            ask(batches[(number + len(taken) * clients) % len(batches)])
            before, now = now, clock()
            taken.append(now - before)
        return taken, start, now

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        ran = list(pool.map(run, range(clients)))
    taken = [second for each, _, _ in ran for second in each]
    return taken, max(end for *_, end in ran) - min(start for _, start, _ in ran)


def summary(asked, called, rate):
    """The figures of `measure`, from seconds of requests and of direct calls."""
    p50, p99 = np.percentile(asked, [50, 99])
    return {
        "requests_a_second": float(rate),
        "p50": float(p50),
        "p99": float(p99),
        "share": float(statistics.median(called) / p50),
    }


def row(clients, measured):
    """The figures of one number of clients, as a line to read."""
    rate, p50, p99, share = (each["value"] for each in measured.values())
    spread = measured["requests_a_second"]
    return (
        f"{clients} at a time  {rate:6.2f} requests a second "
        f"({spread['low']:.2f} to {spread['high']:.2f})  p50 {1000 * p50:.0f} ms  "
        f"p99 {1000 * p99:.0f} ms  model {100 * share:.0f} %"
    )


if __name__ == "__main__":
    raise SystemExit(command.run(main))
