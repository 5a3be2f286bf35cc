"""Prediction for any number of images with actors of Ray Data.

Numbers of shards -> a pool of actors, each of which reads, predicts and writes a whole
shard. Images never leave their actor, and memory holds a shard per actor. Ray adds
actors while nodes are free, and gives the shards of a lost node to other actors.
"""

import contextlib
import itertools
import logging
import os
import socket
import sys

from ram_tf.serving import extras
from ram_tf.serving.batch.answers import Image, answer
from ram_tf.serving.predictor import Predictor

with extras.required("ray", "Batch prediction with Ray"):
    import ray
    import ray.data

SECONDS_TO_CONNECT = 10


class ShardPredictor:
    """Predicts shards with a model that it loads once; an actor holds one.

    Call arguments:
        row: A dict with `item`, the number of a shard.

    Returns:
        The row, with `failure`: None, or why the shard could not be finished.

    Args:
        batch: The `Batch`.
        folder: The folder, on each node, from which relative paths begin.
        model_dir: A version folder of a SavedModel, which each node can read.
        batch_size: Images in a batch.
        threshold: See `ram_tf.serving.predict_files.predict`.
    """

    def __init__(self, batch, folder, model_dir, batch_size, threshold=None):
        os.chdir(folder)
        self.batch = batch
        self.batch_size = batch_size
        self.threshold = threshold
        self.predictor = Predictor.load(model_dir)

    def __call__(self, row):
        shard = self.batch.shards[row["item"]]
        failure = None
        try:
            # Ray repeats a shard whose end it did not hear of, since a node was lost.
            if not self.batch.is_finished(shard):
                self.batch.finish(shard, [*self._answers(shard)])
        except Exception as error:  # Ray's report of it would have many lines
            failure = f"{type(error).__name__}: {error}"
        return {**row, "failure": failure}

    def _answers(self, shard):
        images = map(Image.read, self.batch.paths(shard))
        while some := [*itertools.islice(images, self.batch_size)]:
            yield from answer(some, self.predictor, self.threshold)


def run(batch, predictor_arguments, address, num_cpus, num_gpus, concurrency):
    """Predicts for the shards that are not finished.

    Args:
        batch: The `Batch`.
        predictor_arguments: The last three of `ShardPredictor`.
        address: Address of a cluster; None for the cluster of this machine, or a new
            one if it has none.
        num_cpus: CPUs of an actor, and threads of each of its operations.
        num_gpus: GPUs of an actor; may be a fraction.
        concurrency: The smallest and the largest number of actors; None for as many as
            there is room for.

    Raises:
        OSError: There is no cluster, or a shard failed. Shards that are already written
            stay finished.
    """
    todo = batch.unfinished()
    if not todo:
        return
    smallest, largest = min(concurrency[0], len(todo)), concurrency[1]
    try:
        with _connected(address):
            _note_missing_room(num_cpus, num_gpus)
            # A block each, so that a lost node costs the shards that it was at.
            numbers = ray.data.from_items(
                [shard.number for shard in todo], override_num_blocks=len(todo)
            )
            rows = numbers.map(
                ShardPredictor,
                fn_constructor_args=(batch, os.getcwd(), *predictor_arguments),
                compute=ray.data.ActorPoolStrategy(min_size=smallest, max_size=largest),
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                runtime_env={"env_vars": _variables(num_cpus)},
            )
            for row in rows.iter_rows():
                if row["failure"]:
                    raise RuntimeError(row["failure"])
    except Exception as error:  # Ray has errors of its own
        last = str(error).strip().splitlines()[-1:]
        raise OSError(
            "The batch failed; start it again for the remaining shards. Received: "
            f"{' '.join(last)}"
        ) from error


@contextlib.contextmanager
def _connected(address):
    """Connects to a cluster, and keeps Ray's own messages to its log files."""
    if address and ":" in address:
        _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address):
    """Raises an `OSError` at once, where Ray would try to connect for many minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise OSError(
            "There is no Ray cluster. Expected --address HOST:PORT of its head. "
            f"Received: {address} ({error})"
        ) from error


def _variables(num_cpus):
    """Keeps TensorFlow to the part of a node that Ray has given to an actor."""
    variables = {
        "TF_NUM_INTRAOP_THREADS": str(max(1, int(num_cpus))),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    return {name: os.environ.get(name, value) for name, value in variables.items()}


def _note_missing_room(num_cpus, num_gpus):
    """Says on stderr that no node has room for an actor, for which Ray waits."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(
        node.get("CPU", 0) >= num_cpus and node.get("GPU", 0) >= num_gpus
        for node in nodes
    ):
        print(
            f"no node has {num_cpus:g} CPUs and {num_gpus:g} GPUs; waiting for one",
            file=sys.stderr,
        )
