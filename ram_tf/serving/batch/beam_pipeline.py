"""Prediction for any number of images with an Apache Beam pipeline.

Shard numbers -> bytes of images -> `RunInference` -> the two files of each shard. No
step needs a shuffle, so runners that fuse steps bring all images of a shard to its
writer within one bundle. A shard is written as soon as its last image is done, and
memory holds a few shards, never the whole batch.
"""

import collections
import contextlib
import threading
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from ram_tf.data import progress
from ram_tf.data.images.image_faults import REASONS, Fault, find_fault
from ram_tf.serving.batch.shards import Shard, load_model, open_file
from ram_tf.serving.predict_files import to_record

NAMESPACE = "images"
PROGRESS_INTERVAL = 2  # seconds


class Image(NamedTuple):
    """An image in the pipeline.

    Args:
        shard: Its `Shard`.
        position: Its index within the shard.
        path: Its path, as in the list.
        encoded: The bytes of the file; empty if it cannot be read.
        failure: Its `Fault`; None if the file can be read.
    """

    shard: Shard
    position: int
    path: str
    encoded: bytes
    failure: Fault | None = None


class ReadShard(beam.DoFn):
    """Reads the images of a shard, and passes on unreadable ones without bytes.

    Args:
        batch: The `Batch`.
    """

    def __init__(self, batch):
        self.batch = batch

    def process(self, shard):
        for position, path in enumerate(self.batch.paths(shard)):
            Metrics.counter(NAMESPACE, "read").inc()
            yield Image(shard, position, path, *_read(path))


def _read(path):
    try:
        with open_file(path) as file:
            encoded = file.read()
    except Exception as error:  # each file system has errors of its own
        return b"", Fault(_reason_unread(path), f"{type(error).__name__}: {error}")
    return encoded, None


def _reason_unread(path):
    with contextlib.suppress(Exception):
        if not FileSystems.exists(path):
            return "missing"
    return "reading error"


class SavedModelHandler(ModelHandler):
    """Runs the signature `serving_default` on images of the pipeline.

    Beam's own handler for TensorFlow uses `keras.models.load_model`, which in Keras 3
    cannot load a SavedModel.

    Args:
        model_dir: A version folder of a SavedModel, which each worker can read.
        batch_size: Images in a batch.
        threshold: See `ram_tf.serving.predict_files.predict`.
    """

    def __init__(self, model_dir, batch_size, threshold=None):
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self.model_dir = model_dir
        self.threshold = threshold

    def load_model(self):
        return load_model(self.model_dir)

    def run_inference(self, batch, model, inference_args=None):
        """Yields a `PredictionResult` of each image and its record."""
        outputs = model([image.encoded for image in batch])
        threshold = model.thresholds if self.threshold is None else self.threshold
        for i, image in enumerate(batch):
            row = {name: values[i] for name, values in outputs.items()}
            record = to_record(image.path, row, model.label_names, threshold)
            yield PredictionResult(image, record)

    def get_num_bytes(self, batch):
        return sum(len(image.encoded) for image in batch)

    def get_metrics_namespace(self):
        return "SavedModel"


class WriteShards(beam.DoFn):
    """Writes each shard as soon as all of its images have arrived.

    Args:
        batch: The `Batch`.
    """

    def __init__(self, batch):
        self.batch = batch

    def start_bundle(self):
        self.arrived = collections.defaultdict(list)

    def process(self, result):
        image, record = result.example, result.inference
        if record["valid"]:
            reason = None
        else:
            reason, detail = image.failure or find_fault(
                image.encoded, self.batch.max_pixels, self.batch.truncated
            )
            record = {"image": image.path, "reason": reason, "detail": detail}
        arrived = self.arrived[image.shard]
        arrived.append((image.position, reason, record))
        if len(arrived) == image.shard.count:
            self._write(image.shard, sorted(self.arrived.pop(image.shard)))

    def _write(self, shard, arrived):
        records = [record for _, reason, record in arrived if reason is None]
        unread = [record for _, reason, record in arrived if reason is not None]
        self.batch.finish(shard, records, unread)
        for _, reason, _ in arrived:
            Metrics.counter(NAMESPACE, reason or "predicted").inc()

    def finish_bundle(self):
        if self.arrived:
            raise RuntimeError(
                "The images of a shard were divided. Expected a runner that fuses "
                f"steps. Received: parts of {len(self.arrived)} shards in one bundle"
            )


def pipeline_options(flags):
    """Reads Beam's own flags.

    Without `--runner`, Beam's local Python runner is used: `DirectRunner` would first
    search the network for another one.

    Raises:
        ValueError: The local runner does not have such a flag. Other runners may have
            flags of their own.
    """
    options = PipelineOptions(flags)
    beam_flags = options.get_all_options()
    if not options.view_as(StandardOptions).runner:
        all_flags = options.get_all_options(retain_unknown_options=True)
        unknown = all_flags.keys() - beam_flags
        if unknown:
            raise ValueError(
                "There are no such flags. Expected this script's or Apache Beam's. "
                f"Received: {', '.join(f'--{name}' for name in sorted(unknown))}"
            )
    return options


def run(batch, handler, options):
    """Predicts for the shards that are not finished.

    Args:
        batch: The `Batch`.
        handler: The `SavedModelHandler`.
        options: Result of `pipeline_options`.

    Returns:
        A `collections.Counter` of the images: "read", "predicted", and those without a
        record by reason.

    Raises:
        OSError: The pipeline failed. Shards that are already written stay finished.
    """
    todo = batch.unfinished()
    if not todo:
        return collections.Counter()
    runner = options.view_as(StandardOptions).runner or FnApiRunner()
    pipeline = beam.Pipeline(runner, options)
    _ = (
        pipeline
        | "Shards" >> beam.Create(todo)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadShard(batch))
        | "Predict" >> RunInference(handler)
        | "Write" >> beam.ParDo(WriteShards(batch))
    )
    with _progress_bar(batch, len(todo)):
        try:
            result = pipeline.run()
            result.wait_until_finish()
        except Exception as error:  # runners have errors of their own
            last = str(error).strip().splitlines()[-1:]
            raise OSError(
                "The pipeline failed; start it again for the remaining shards. "
                f"Received: {type(error).__name__} {' '.join(last)}"
            ) from error
    found = result.metrics().query(
        beam.metrics.MetricsFilter().with_namespace(NAMESPACE)
    )
    return collections.Counter(
        {each.key.metric.name: each.result for each in found["counters"]}
    )


@contextlib.contextmanager
def _progress_bar(batch, count):
    """Shows how many of `count` shards are finished, by listing the folder."""
    done = threading.Event()
    with progress.bar(None, "predicting", count, "shard", leave=True) as bar:

        def update():
            while not done.wait(PROGRESS_INTERVAL):
                bar.update(count - len(batch.unfinished()) - bar.n)

        thread = threading.Thread(target=update, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            bar.update(count - len(batch.unfinished()) - bar.n)


def table(batch, counts):
    """Formats the numbers of images as a table.

    Args:
        batch: The `Batch`, all of whose shards are finished.
        counts: Result of `run`.

    Returns:
        Lines of text, with a column for this start and one for the whole batch.
    """
    unread, total = batch.unread(), sum(shard.count for shard in batch.shards)
    whole = {"read": total, "predicted": total - unread.total(), **unread}
    rows = [("images", "this start", "in all")]
    rows += [
        (name, str(counts[name]), str(whole.get(name, 0)))
        for name in ("read", "predicted", *REASONS)
    ]
    return "\n".join(f"{name:<16}{now:>12}{ever:>12}" for name, now, ever in rows)
