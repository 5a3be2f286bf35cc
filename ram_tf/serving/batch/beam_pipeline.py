"""What a model says of any number of images: an Apache Beam pipeline.

Shard numbers -> bytes of images -> `RunInference` -> the two files of each shard. The
steps are one chain without a shuffle between them: every runner that fuses such steps
brings the images of a shard to its writer within one bundle. So a shard is written as
soon as its last image is done, and memory holds a few shards, never the batch.
"""

import collections
import contextlib
import threading
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tqdm import tqdm

from ram_tf.data.decoding import decode_image
from ram_tf.serving.batch.shards import Shard, load_model, open_file
from ram_tf.serving.predict_files import describe

REASONS = ("missing", "reading error", "empty", "too many pixels", "unreadable")
NAMESPACE = "images"
SECONDS_BETWEEN_LOOKS = 2


class Image(NamedTuple):
    """An image on its way through the pipeline.

    Args:
        shard: Its `Shard`.
        place: Its number within the shard.
        path: As it stands in the list.
        encoded: The bytes of the file; none where it could not be read.
        fault: A reason and a detail; None where the file could be read.
    """

    shard: Shard
    place: int
    path: str
    encoded: bytes
    fault: tuple[str, str] | None = None


class ReadShard(beam.DoFn):
    """Reads the images of a shard; those without bytes go along, so that none is lost.

    Args:
        batch: The `Batch`.
    """

    def __init__(self, batch):
        self.batch = batch

    def process(self, shard):
        for place, path in enumerate(self.batch.paths(shard)):
            Metrics.counter(NAMESPACE, "read").inc()
            yield Image(shard, place, path, *_read(path))


def _read(path):
    try:
        with open_file(path) as file:
            encoded = file.read()
    except Exception as error:  # each storage has errors of its own
        return b"", (_why_not(path), f"{type(error).__name__}: {error}")
    return encoded, None if encoded else ("empty", "0 bytes")


def _why_not(path):
    with contextlib.suppress(Exception):
        if not FileSystems.exists(path):
            return "missing"
    return "reading error"


class SavedModelHandler(ModelHandler):
    """Runs `serving_default` on images of the pipeline.

    Beam's own handler for TensorFlow loads by `keras.models.load_model`, which Keras 3
    cannot do with a SavedModel.

    Args:
        model_dir: A version folder of a SavedModel, which each worker must reach.
        batch_size: Images at a time.
        threshold: See `ram_tf.serving.predict_files.predict`.
    """

    def __init__(self, model_dir, batch_size, threshold=None):
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self.model_dir = model_dir
        self.threshold = threshold

    def load_model(self):
        return load_model(self.model_dir)

    def run_inference(self, batch, model, inference_args=None):
        """Yields a `PredictionResult` of the image and its record, for each image."""
        outputs = model([image.encoded for image in batch])
        threshold = model.thresholds if self.threshold is None else self.threshold
        for i, image in enumerate(batch):
            one = {name: values[i] for name, values in outputs.items()}
            record = describe(image.path, one, model.label_names, threshold)
            yield PredictionResult(image, record)

    def get_num_bytes(self, batch):
        return sum(len(image.encoded) for image in batch)

    def get_metrics_namespace(self):
        return "SavedModel"


class WriteShards(beam.DoFn):
    """Writes each shard as soon as all of its images have come.

    Args:
        batch: The `Batch`.
    """

    def __init__(self, batch):
        self.batch = batch

    def start_bundle(self):
        self.come = collections.defaultdict(list)

    def process(self, result):
        image, record = result.example, result.inference
        if record["valid"]:
            reason = None
        else:
            reason, detail = image.fault or why_invalid(
                image.encoded, self.batch.max_pixels
            )
            record = {"image": image.path, "reason": reason, "detail": detail}
        come = self.come[image.shard]
        come.append((image.place, reason, record))
        if len(come) == image.shard.count:
            self._write(image.shard, sorted(self.come.pop(image.shard)))

    def _write(self, shard, come):
        records = [record for _, reason, record in come if reason is None]
        unread = [record for _, reason, record in come if reason is not None]
        self.batch.finish(shard, records, unread)
        for _, reason, _ in come:
            Metrics.counter(NAMESPACE, reason or "predicted").inc()

    def finish_bundle(self):
        if self.come:
            raise RuntimeError(
                "The images of a shard came apart. Expected a runner that fuses steps. "
                f"Received: parts of {len(self.come)} shards in one bundle"
            )


# In a graph, where TensorFlow says of a failed assertion what it was about.
_decoded = tf.function(decode_image, autograph=False)


def why_invalid(encoded, max_pixels):
    """Says why the model could not read an image.

    Returns:
        One of `REASONS`, and what TensorFlow says.
    """
    try:
        _decoded(tf.constant(encoded), tf.constant(max_pixels, tf.int64))
    except tf.errors.OpError as error:
        large = "More pixels than max_pixels" in error.message
        detail = error.message.splitlines()[0]
        return "too many pixels" if large else "unreadable", detail
    return "unreadable", "It can be decoded, but not brought to the model's size."


def pipeline_options(flags):
    """Reads Beam's own flags.

    Without `--runner` it is Beam's local one in Python: `DirectRunner` would first look
    for another one on the network.

    Raises:
        ValueError: The local runner has no such flag. Others may have flags that only
            they know.
    """
    options = PipelineOptions(flags)
    known = options.get_all_options()
    if not options.view_as(StandardOptions).runner:
        unknown = options.get_all_options(retain_unknown_options=True).keys() - known
        if unknown:
            raise ValueError(
                "There are no such flags. Expected this script's or Apache Beam's. "
                f"Received: {', '.join(f'--{name}' for name in sorted(unknown))}"
            )
    return options


def run(batch, handler, options):
    """Does the shards that are not finished.

    Args:
        batch: The `Batch`.
        handler: The `SavedModelHandler`.
        options: Of `pipeline_options`.

    Returns:
        A `collections.Counter`: how many images were "read" and "predicted", and how
        many have no record, by reason.

    Raises:
        OSError: The pipeline failed. Shards that were finished before stay so.
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
    with _watched(batch, len(todo)):
        try:
            result = pipeline.run()
            result.wait_until_finish()
        except Exception as error:  # a runner raises what it likes
            last = str(error).strip().splitlines()[-1:]
            raise OSError(
                "The pipeline failed; start it again for what is left. Received: "
                f"{type(error).__name__} {' '.join(last)}"
            ) from error
    found = result.metrics().query(
        beam.metrics.MetricsFilter().with_namespace(NAMESPACE)
    )
    return collections.Counter(
        {each.key.metric.name: each.result for each in found["counters"]}
    )


@contextlib.contextmanager
def _watched(batch, count):
    """Shows how many shards are finished, by looking into the folder."""
    done = threading.Event()
    with tqdm(total=count, desc="predicting", unit="shard") as bar:

        def look():
            while not done.wait(SECONDS_BETWEEN_LOOKS):
                bar.update(count - len(batch.unfinished()) - bar.n)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            bar.update(count - len(batch.unfinished()) - bar.n)


def table(batch, counts):
    """Writes what happened as the table that a person reads.

    Args:
        batch: The `Batch`, all of whose shards are finished.
        counts: What `run` returned.

    Returns:
        Lines of text: images of this start, and of the whole folder.
    """
    unread, total = batch.unread(), sum(shard.count for shard in batch.shards)
    whole = {"read": total, "predicted": total - unread.total(), **unread}
    rows = [("images", "this start", "in all")]
    rows += [
        (name, str(counts[name]), str(whole.get(name, 0)))
        for name in ("read", "predicted", *REASONS)
    ]
    return "\n".join(f"{name:<16}{now:>12}{ever:>12}" for name, now, ever in rows)
