"""The `Predictor`, which scores encoded images with a trained model.

It is made from a run's folder, a SavedModel, a file of another format or a server's
address; all of them prepare images with the same graph.
"""

import json
import os
import pathlib
import reprlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from ram_tf.data.images.header_checks import MAX_SIDE
from ram_tf.models.multi_view import MultiView
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.config_json import from_exported_json
from ram_tf.runs.run import Run
from ram_tf.serving.formats import litert_model, onnx_model, single_size
from ram_tf.serving.formats.export import METADATA, files_of_graph, serve_bytes
from ram_tf.storage import remote_files
from ram_tf.storage.atomic_files import check, read

FORMATS = {onnx_model.ENDING: onnx_model, litert_model.ENDING: litert_model}


class Predictor:
    """Scores encoded images with a trained model.

    Call arguments:
        encoded: A list of `bytes`, a JPEG or PNG each.

    Returns:
        The dict of `ram_tf.serving.formats.export.serve_bytes`, as NumPy arrays.

    Args:
        serve: Function from a list of encoded images to that dict.
        config: The `Config` of the run; for an exported model only the settings that
            serving needs, see `config_json`.
        label_names: The L labels.
        about: The views and scales of the model, `MultiView.about`.
    """

    loaded: Any  # of a SavedModel, see `load`

    def __init__(
        self,
        serve: Callable[[Sequence[bytes]], dict[str, np.ndarray]],
        config: Config,
        label_names: Sequence[str],
        about: dict[str, Any],
    ):
        self.serve = serve
        self.config = config
        self.label_names = label_names
        self.about = about

    @property
    def thresholds(self) -> np.ndarray:
        """The smallest probability for which each label is predicted, `(L,)`."""
        fitted = self.about.get("thresholds")
        return np.array(fitted or [0.5] * len(self.label_names))

    @classmethod
    def of(cls, view: MultiView, run: Run) -> Self:
        """Makes a predictor from a view of a run's models."""
        graph = tf.function(
            serve_bytes(view, run.config.data.max_pixels, run.config.data.truncated),
            [tf.TensorSpec([None], tf.string, name="image_bytes")],
            autograph=False,
        )
        return cls(_local(graph), run.config, run.label_names, view.about)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        client: Callable[[Sequence[bytes]], dict[str, np.ndarray]] | None = None,
    ) -> Self:
        """Loads a run's output folder, a version folder of a SavedModel, or a file.

        Args:
            folder: One of these; a file in one of the `FORMATS`. A folder may also be
                on another storage, such as "gs://..."; see
                `ram_tf.storage.remote_files`. With a client, the
                version folder that its server serves: labels and thresholds are read
                from it, since servers do not send them.
            client: Result of `connection.connect`, to predict with the server's model.

        Raises:
            FileNotFoundError: The folder is none of these.
            OSError: The folder is on another storage, which cannot be read.
            ModuleNotFoundError: The file's format needs an extra.
            ValueError: A file cannot be read, or has changed since it was written.
        """
        if remote_files.is_remote(os.fspath(folder)):
            with tempfile.TemporaryDirectory(prefix="ram_tf-") as local:
                remote_files.fetch(os.fspath(folder), local)
                return cls.load(local, client)
        folder = pathlib.Path(folder)
        if folder.suffix in FORMATS and folder.is_file() and not client:
            return cls._of_file(folder)
        if (folder / "config.json").is_file() and not client:
            run = Run.open(folder)
            return cls.of(
                run_models.served_view(run, run_models.load_attention(run)), run
            )
        if not (folder / "saved_model.pb").is_file():
            others = f", a run's (config.json) or a file in {' or '.join(FORMATS)}"
            raise FileNotFoundError(
                "There is no model. Expected a version folder of a SavedModel "
                f"(saved_model.pb){'' if client else others}. Received: {folder}"
            )
        extra = folder / "assets.extra"
        settings, label_names = from_exported_json(read(extra / "config.json"))
        views = extra / "views.json"
        about = _read_about(read(views), len(label_names), views)
        if client:
            return cls(client, settings, label_names, about)
        for path in files_of_graph(folder):
            check(path)
        loaded = tf.saved_model.load(str(folder))
        serve = _local(loaded.signatures["serving_default"])
        predictor = cls(serve, settings, label_names, about)
        # The signature does not keep its variables alive; the loaded object does.
        predictor.loaded = loaded
        return predictor

    @classmethod
    def _of_file(cls, path: pathlib.Path) -> Self:
        forward, texts = FORMATS[path.suffix].load(path)
        settings, label_names, about = read_metadata(path, texts)
        (size,) = about["scales"]
        data = settings.data
        serve = single_size.serve_bytes(forward, size, data.max_pixels, data.truncated)
        return cls(serve, settings, label_names, about)

    def __call__(self, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        outputs = self.serve(encoded)
        found = outputs["scores"].shape[1]
        if found != len(self.label_names):
            raise ValueError(
                "The number of scores differs from the number of labels in the model's "
                f"folder. Expected {len(self.label_names)}. Received: {found}"
            )
        return outputs


def read_metadata(path, texts):
    """Reads the metadata of a model file.

    Args:
        path: Path of the file, for error messages.
        texts: Its texts, see `ram_tf.serving.formats.export.metadata`, name to text.

    Returns:
        The `Config`, the label names and `MultiView.about`, with one scale.

    Raises:
        ValueError: A text is missing, invalid or too large.
    """
    try:
        for name in METADATA:
            if len(texts[name]) > single_size.LARGEST_TEXT:
                raise ValueError(f"{name} of {len(texts[name])} characters")
        settings, label_names = from_exported_json(texts["config.json"])
        about = _read_about(texts["views.json"], len(label_names), "views.json")
        scales = about.get("scales")
        if not (isinstance(scales, list) and len(scales) == 1 and _is_edge(scales[0])):
            raise ValueError(f"scales {reprlib.repr(scales)}")
    except (KeyError, ValueError) as error:
        raise single_size.unreadable(path, error) from error
    return settings, label_names, about


def _is_edge(value):
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and 0 < value <= MAX_SIDE


def _read_about(content, count, where):
    """Reads `MultiView.about` of an exported model from JSON."""
    try:
        about = json.loads(content)
        thresholds = about.get("thresholds", [0.5] * count)
        if len(thresholds) != count or not all(0 <= each <= 1 for each in thresholds):
            raise ValueError(f"thresholds {reprlib.repr(thresholds)}")
        return about
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{where} cannot be read. Expected the views of an exported model, with a "
            f"threshold from 0 to 1 for each of {count} labels. Received: {error}"
        ) from error


def _local(graph):
    def serve(encoded):
        outputs = graph(image_bytes=tf.constant(encoded, tf.string))
        return {name: value.numpy() for name, value in outputs.items()}

    return serve
