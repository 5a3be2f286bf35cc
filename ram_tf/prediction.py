"""From image files to labels and the regions that spoke for them.

A `Predictor` is made from a run's folder or from a SavedModel; both go through the same
graph from bytes to scores.
"""

import pathlib
import warnings

import numpy as np
import tensorflow as tf

from ram_tf import config
from ram_tf.export import serve_bytes
from ram_tf.run import Run
from ram_tf.visualization import voices


class Predictor:
    """Scores encoded images with a trained model.

    Args:
        function: From `(B,)` encoded images to the dict of `ram_tf.export.serve_bytes`.
        settings: The `Config` of the run.
        label_names: The L labels.
    """

    def __init__(self, function, settings, label_names):
        self.function = function
        self.settings = settings
        self.label_names = label_names

    @classmethod
    def load(cls, folder):
        """Loads a run's output folder or a version folder of a SavedModel.

        Raises:
            FileNotFoundError: The folder is neither.
        """
        folder = pathlib.Path(folder)
        if (folder / "config.json").is_file():
            run = Run.open(folder)
            serve = tf.function(
                serve_bytes(run.load_model(), run.config),
                [tf.TensorSpec([None], tf.string)],
            )
            return cls(serve, run.config, run.label_names)
        if not (folder / "saved_model.pb").is_file():
            raise FileNotFoundError(
                "There is no model. Expected a folder that fit.py wrote (config.json) "
                "or a version folder of a SavedModel (saved_model.pb). "
                f"Received: {folder}"
            )
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]

        def serve(image_bytes):
            # The signature lives as long as what it was loaded from.
            del loaded_is_kept
            return signature(image_bytes=image_bytes)

        text = (folder / "assets.extra" / "config.json").read_text()
        return cls(serve, *config.from_json(text))
