"""Compares the exported SavedModel with the Keras model.

- `serving_default`: the SavedModel's signature on a batch of encoded photographs.
- `keras`: the evaluation pipeline decodes and prepares the same photographs; the Keras
  model is then called on them as a graph.
"""

import tensorflow as tf

from benchmarks.timing import Candidate, Ratio
from ram_tf.data.image_bytes import read_files
from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.runs import run_models
from ram_tf.serving.formats.export import export
from ram_tf.serving.predictor import Predictor

RATIOS = (Ratio("saved_model_over_keras", "serving_default", "keras", at_most=1.05),)


def candidates(subject):
    """Builds the `Candidate`s of `RATIOS`, by name."""
    run, settings = subject.run, subject.settings
    view = run_models.served_view(run, subject.model)
    predictor = Predictor.load(export(view, run, subject.folder / "saved_model"))
    photographs = subject.split.take(range(subject.batch))
    encoded = list(read_files(photographs))
    prepared = evaluation_pipeline(
        photographs,
        [settings.image.image_size],
        [settings.image.crop],
        subject.batch,
        settings.data.max_pixels,
    )
    model = tf.function(subject.model, autograph=False)

    def prepare_and_call():
        ((images,),) = prepared
        return model(images)

    return {
        "serving_default": Candidate(lambda: predictor(encoded), subject.batch),
        "keras": Candidate(prepare_and_call, subject.batch),
    }
