"""Prediction for any number of images with an Apache Beam pipeline.

Shard numbers -> bytes of images -> `RunInference` -> the two files of each shard. No
step needs a shuffle, so runners that fuse steps bring all images of a shard to its
writer within one bundle. A shard is written as soon as its last image is done, and
memory holds a few shards, never the whole batch.
"""

import collections
from typing import NamedTuple

from ram_tf.serving import extras
from ram_tf.serving.batch.answers import Image, answer
from ram_tf.serving.batch.batch_folder import Shard
from ram_tf.serving.predictor import Predictor

with extras.required("beam", "Batch prediction with Beam"):
    import apache_beam as beam
    from apache_beam.ml.inference.base import (
        ModelHandler,
        PredictionResult,
        RunInference,
    )
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner


class Placed(NamedTuple):
    """An image and its place.

    Args:
        shard: Its `Shard`.
        position: Its index within the shard.
        image: The `Image`.
    """

    shard: Shard
    position: int
    image: Image


class ReadShard(beam.DoFn):
    """Reads the images of a shard.

    Args:
        batch: The `Batch`.
    """

    def __init__(self, batch):
        self.batch = batch

    def process(self, shard):
        for position, path in enumerate(self.batch.paths(shard)):
            yield Placed(shard, position, Image.read(path))


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
        return Predictor.load(self.model_dir)

    def run_inference(self, batch, model, inference_args=None):
        """Yields a `PredictionResult` of each image and its answer."""
        answers = answer([placed.image for placed in batch], model, self.threshold)
        yield from map(PredictionResult, batch, answers)

    def get_num_bytes(self, batch):
        return sum(len(placed.image.encoded) for placed in batch)

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
        self.arrived = collections.defaultdict(dict)

    def process(self, result):
        shard, position, _ = result.example
        arrived = self.arrived[shard]
        arrived[position] = result.inference
        if len(arrived) == shard.count:
            del self.arrived[shard]
            self.batch.finish(shard, [arrived[i] for i in range(shard.count)])

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

    Raises:
        OSError: The pipeline failed. Shards that are already written stay finished.
    """
    todo = batch.unfinished()
    if not todo:
        return
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
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:  # runners have errors of their own
        last = str(error).strip().splitlines()[-1:]
        raise OSError(
            "The pipeline failed; start it again for the remaining shards. "
            f"Received: {type(error).__name__} {' '.join(last)}"
        ) from error
