"""Measures a server's requests per second, latency, and the model's share of it.

    python -m benchmarks.serving --model_dir saved_models/digits/1 \
        --url http://localhost:8080/v1/models/digits:predict

1, 2 and 4 clients send it photographs, each its next request after the last answer.
Prints a table and writes the results to benchmarks/results.json. In turns with the
server, as many threads call the SavedModel's serving_default directly: `share` is the
median time of such a call over the median latency. --model_dir must therefore be the
version that the server has loaded, on the same machine. Nothing else should run there.
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
from ram_tf.serving.image_search import find_images
from ram_tf.serving.predictor import Predictor


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model_dir", required=True, help="the served version")
    parser.add_argument("--url", required=True, help="URL as for predict.py")
    parser.add_argument(
        "--images", nargs="+", help="files or folders; default: 32 photographs"
    )
    parser.add_argument(
        "--clients", nargs="+", type=int, default=(1, 2, 4), help="default: 1 2 4"
    )
    parser.add_argument(
        "--batch_size", type=int, default=1, help="images per request; %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument(
        "--seconds", type=float, default=10, help="length of a turn; %(default)s"
    )
    record.add_output(parser)
    arguments = parser.parse_args(argv)
    for name in ("batch_size", "rounds", "seconds"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name}: must be above 0")
    if min(arguments.clients) < 1:
        parser.error("--clients: must be 1 or more")
    return arguments


def main(argv):
    arguments = parse(argv)
    record.read(arguments.output)  # Fails early on a wrong file.
    machine = record.machine()
    remote = connection.connect(arguments.url, retries=0)
    local = Predictor.load(arguments.model_dir)
    batches = read_batches(arguments.images, arguments.batch_size)
    require_the_same(remote(batches[0]), local(batches[0]), arguments)
    protocol = "grpc" if arguments.url.startswith("grpc") else "rest"
    settings = {"protocol": protocol, "batch_size": arguments.batch_size}
    results = {}
    for count in arguments.clients:
        measured = measure(
            remote, local, batches, count, arguments.rounds, arguments.seconds
        )
        for name, statistic in measured.items():
            results[f"serving_{protocol}_{count}_{name}"] = {
                **statistic,
                "target": "",
                "settings": {**settings, "clients": count},
                "machine": machine,
            }
        record.update(arguments.output, results)
        print(row(count, measured), flush=True)
    return 0


def read_batches(images, size):
    """Reads the requests: one per file, lists of `size` encoded images.

    Args:
        images: Files or folders; None for the benchmark's photographs.
        size: The number of images per request.
    """
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
        paths = find_images(images or photographs.write(pathlib.Path(folder)))
        encoded = [path.read_bytes() for path in paths]
    return [
        [encoded[(start + i) % len(encoded)] for i in range(size)]
        for start in range(0, len(encoded) * size, size)
    ]


def require_the_same(actual, expected, arguments):
    """Raises a ValueError if the server's scores differ from those of --model_dir."""
    actual, expected = actual["scores"], expected["scores"]
    if actual.shape != expected.shape or not np.allclose(actual, expected, atol=1e-4):
        raise ValueError(
            "The server has another model. Expected the scores of "
            f"{arguments.model_dir}. Received: others from {arguments.url}"
        )


def measure(remote, local, batches, clients, rounds, seconds):
    """Measures a server and its model alone, in turns.

    Args:
        remote: The client.
        local: The `Predictor` of the same model.
        batches: The requests, lists of encoded images.
        clients: The number of clients at a time.
        rounds: The number of measured turns; one more before them is not counted.
        seconds: The length of a turn.

    Returns:
        For `requests_a_second`, `p50` and `p99` (seconds) and `share`: the `value` over
        all rounds, their `low` and `high`, and the number of `rounds`.
    """
    summaries, latencies, calls, rates = [], [], [], []
    for number in tqdm(range(-1, rounds), desc=f"{clients} clients", leave=False):
        requested, lasted = load(remote, batches, clients, seconds)
        called, _ = load(local, batches, clients, seconds)
        if number >= 0:
            rates.append(len(requested) / lasted)
            summaries.append(summary(requested, called, rates[-1]))
            latencies += requested
            calls += called
    whole = summary(latencies, calls, statistics.median(rates))
    return {
        name: {
            "value": value,
            "low": min(each[name] for each in summaries),
            "high": max(each[name] for each in summaries),
            "rounds": rounds,
        }
        for name, value in whole.items()
    }


def load(predict, batches, clients, seconds, clock=time.perf_counter):
    """Sends requests from several clients at the same time.

    Args:
        predict: A function from a list of encoded images to outputs.
        batches: The requests; each client begins at another.
        clients: The number of clients.
        seconds: The time after which no further request is sent.
        clock: A function that returns seconds.

    Returns:
        The seconds of each request, and the seconds from first start to last end.
    """
    barrier = threading.Barrier(clients)

    def run(number):
        barrier.wait()
        start = now = clock()
        taken = []
        while not taken or now - start < seconds:
            predict(batches[(number + len(taken) * clients) % len(batches)])
            before, now = now, clock()
            taken.append(now - before)
        return taken, start, now

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        runs = list(pool.map(run, range(clients)))
    taken = [second for each, _, _ in runs for second in each]
    return taken, max(end for *_, end in runs) - min(start for _, start, _ in runs)


def summary(requested, called, rate):
    """Computes the values of `measure` from seconds of requests and direct calls."""
    p50, p99 = np.percentile(requested, [50, 99])
    return {
        "requests_a_second": float(rate),
        "p50": float(p50),
        "p99": float(p99),
        "share": float(statistics.median(called) / p50),
    }


def row(clients, measured):
    """Formats the results for one number of clients as a line of text."""
    rate, p50, p99, share = (each["value"] for each in measured.values())
    spread = measured["requests_a_second"]
    return (
        f"{clients} clients  {rate:6.2f} requests per second "
        f"({spread['low']:.2f} to {spread['high']:.2f})  p50 {1000 * p50:.0f} ms  "
        f"p99 {1000 * p99:.0f} ms  model {100 * share:.0f} %"
    )


if __name__ == "__main__":
    raise SystemExit(command.run(main))
