"""`Origin`: the earlier model, with other labels perhaps, that a new run starts from.

It is the folder of a run or a SavedModel that was exported from one. Variables of a
SavedModel are read from its checkpoint; its graph is not loaded.
"""

import dataclasses
import pathlib
import re
import sys
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from ram_tf.models.attention.region_lstm import code_width
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.config_json import from_json
from ram_tf.runs.run import Run
from ram_tf.runs.splits.leakage import is_same_data, shared_names
from ram_tf.storage import atomic_files, short_floats

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # TensorFlow's key of the variables' names
# An export lists the model's `variables` in their order.
VARIABLE = re.compile(r"variables/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE")
NUMBER = re.compile(r"_\d+$")  # by which Keras tells layers of one kind apart


class PooledWeights(NamedTuple):
    """The weights that step 1 of a new run takes over.

    Args:
        backbone: The arrays of the backbone, in the order of its `weights`.
        hidden: Kernel and bias of the hidden layer; None without one.
        kernel: `(D, L)` of the classifier, with the L labels of the earlier model.
        bias: `(L,)` of the classifier.
    """

    backbone: list
    hidden: list | None
    kernel: np.ndarray
    bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Origin:
    """An earlier model that a new run starts from.

    Args:
        folder: The folder of a run, or the version folder of a SavedModel.
        config: The `Config` that it was trained with.
        label_names: Its labels, in the order of the scores.
        run: Its `Run`; None for a SavedModel.
    """

    folder: pathlib.Path
    config: Config
    label_names: tuple[str, ...]
    run: Run | None

    @classmethod
    def open(cls, folder):
        """Opens a run's folder, a SavedModel's version folder or the newest version.

        Raises:
            FileNotFoundError: There is no such model.
            ValueError: Its configuration is invalid or of another version; or it is a
                SavedModel without a classifier of whole images.
        """
        folder = pathlib.Path(folder)
        if (folder / "config.json").is_file():
            run = Run.open(folder)
            return cls(folder, run.config, run.label_names, run)
        version = _version(folder)
        path = version / "assets.extra" / "config.json"
        config, label_names = from_json(atomic_files.read(path), path)
        if config.attention.localization != "content":
            raise ValueError(
                "The SavedModel has no classifier of whole images, so that a run "
                "cannot start from it. Expected the folder of its run, or a SavedModel "
                f"of a model with --localization content. Received: {version}"
            )
        return cls(version, config, label_names, None)

    @classmethod
    def of_new_run(cls, folder, settings):
        """Opens the model that a new run starts from, and checks that it fits.

        Args:
            folder: The folder of the new run.
            settings: The new run's `Config`.

        Returns:
            The `Origin`; None if the settings name none, or if the run has started:
            what it took over from step 1 is in its own files then.

        Raises:
            FileNotFoundError: As `open`.
            ValueError: As `open`; or the settings do not fit the model.
        """
        path = settings.model.start_from
        if not path or Run(pathlib.Path(folder), settings, ()).has_started:
            return None
        origin = cls.open(path)
        origin._check_fits(settings)
        return origin

    def _check_fits(self, settings):
        """Raises a `ValueError` if a new run cannot take over step 1's weights."""
        names = ["backbone", "pooling", "pooled_units"]
        if self.pooling == "flatten":
            names.append("region_size")  # which the features' length depends on
        own = {**self.config.flat(), "pooling": self.pooling}
        differ = [name for name in names if settings[name] != own[name]]
        if differ:
            expected = " ".join(f"--{name} {own[name]}" for name in differ)
            received = " ".join(f"--{name} {settings[name]}" for name in differ)
            raise ValueError(
                "The settings do not fit the model that the run starts from. Expected "
                f"{expected}, as in {self.folder}. Received: {received}"
            )

    @property
    def pooling(self):
        """The pooling of its step 1, for "best" the one that was chosen."""
        return self.run.pooling if self.run else self.config.model.pooling

    @property
    def seen(self):
        """What it was trained on: records for `TrainingImages`, None if unknown."""
        if not self.run or not self.run.training_images.path.is_file():
            return None
        images, data = self.run.training_images, self.config.data
        own = {
            "dataset": data.dataset,
            "data_dir": data.data_dir,
            "train": list(images.names("train")),
            "selection": list(images.names("selection")),
        }
        return [own, *images.seen]

    def check_unseen(self, splits, settings):
        """Raises a `ValueError` if a new run's metrics would be of images seen before.

        The images to test on must be new to the earlier model; those to validate on
        must not be among its training images. Images of another folder are compared by
        name only, and the same names are reported on stderr.

        Args:
            splits: The new run's `RunSplits`.
            settings: Its `Config`.
        """
        if self.seen is None:
            print(
                f"{self.folder} does not say which images it was trained on: see that "
                "none of them is validated or tested on now",
                file=sys.stderr,
            )
            return
        for split, parts in (
            (splits.selection, ["train"]),
            (splits.report, ["train", "selection"]),
        ):
            for record in self.seen:
                shared = shared_names(split, record, parts)
                if not shared:
                    continue
                count = f"{len(shared)} of {len(split)}, such as {min(shared)}"
                if is_same_data(record["dataset"], record["data_dir"], settings):
                    raise ValueError(
                        f"The split {split.name} has images that the model to start "
                        "from was trained on, which would bias the metrics. Expected "
                        f"others (--val_split, --report_split). Received: {count}"
                    )
                print(
                    f"{split.name}: {count}, have names of images that {self.folder} "
                    "was trained on; if they are the same pictures, the metrics are "
                    "too high",
                    file=sys.stderr,
                )

    def pooled_weights(self, backbone):
        """Reads the weights that step 1 takes over.

        Of a run these are its step 1's. A SavedModel holds step 2 alone: these are then
        the backbone and the linear classifier of whole images by which step 2 finds
        regions. It began as that of step 1 and was trained together with the backbone.

        Args:
            backbone: The new run's backbone, of the same network.

        Returns:
            The `PooledWeights`.

        Raises:
            FileNotFoundError: The run has no trained weights yet.
            ValueError: The SavedModel's variables are not those of its settings.
        """
        if not self.run:
            return self._exported_weights(backbone)
        pooled = run_models.load_pooled(self.run)
        return PooledWeights(
            pooled.backbone.get_weights(),
            pooled.feature.get_weights() if pooled.feature else None,
            *pooled.classifier.get_weights(),
        )

    def _exported_weights(self, backbone):
        found = _variables(self.folder)
        expected = [(_plain(v.path), tuple(v.shape)) for v in backbone.weights]
        # The weights of a `ContentLocalization`, in their order.
        labels = len(self.label_names)
        rank = code_width(self.config.attention.units, labels)
        content = [(["W_cell"], (backbone.output_shape[-1], rank))]
        if rank < labels:
            content.append((["W_label"], (rank, labels)))
        content.append((["W_query"], (self.config.attention.units, rank)))
        content.append((["b_query"], (labels,)))
        # Of these the bias always has its name, which no other variable has.
        ends = [i for i, each in enumerate(found, 1) if each.last_name == "b_query"]
        if len(ends) != 1:
            raise self._no_variables()
        own, evidence = found[: len(expected)], found[: ends[0]][-len(content) :]
        if not (_are(expected, own) and _are(content, evidence)):
            raise self._no_variables()
        kernel, *others, _, bias = (each.read() for each in evidence)
        for label_kernel in others:
            kernel = kernel @ label_kernel
        return PooledWeights([each.read() for each in own], None, kernel, bias)

    def _no_variables(self):
        return ValueError(
            "The SavedModel's variables are not known, so that a run cannot start from "
            "it. Expected those of one model that this version exported, or the folder "
            f"of its run. Received: {self.folder}"
        )


def _version(folder):
    """Returns the version folder of a SavedModel, the newest one of its parent."""
    newest = [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name.isdecimal() and (path / "saved_model.pb").is_file()
    ]
    if (folder / "saved_model.pb").is_file():
        newest = [folder]
    if not newest or not _config_of(max(newest, key=_number)).is_file():
        raise FileNotFoundError(
            "There is no model to start from. Expected the folder of a run or of a "
            "SavedModel that fit.py wrote, until the steps that start from it have "
            f"begun. Received: {folder}"
        )
    return max(newest, key=_number)


def _number(version):
    return int(version.name) if version.name.isdecimal() else 0


def _config_of(version):
    return version / "assets.extra" / "config.json"


class _Variable(NamedTuple):
    """A variable in the checkpoint of a SavedModel.

    Args:
        reader: The result of `tf.train.load_checkpoint`.
        number: Its place among the model's variables.
        name: The path that Keras gave it.
    """

    reader: object
    number: int
    name: str

    @property
    def is_short(self):
        """Whether it is stored with 16 bits an entry, and then without its name."""
        return self.reader.has_tensor(self._key("scales"))

    @property
    def last_name(self):
        return self.name.split("/")[-1]

    @property
    def shape(self):
        return tuple(self.reader.get_variable_to_shape_map()[self._key("variables")])

    def read(self):
        """Returns its array."""
        array = self.reader.get_tensor(self._key("variables"))
        if self.is_short:
            return short_floats.lengthen(
                array, self.reader.get_tensor(self._key("scales"))
            )
        return array

    def _key(self, part):
        return f"{part}/{self.number}/.ATTRIBUTES/VARIABLE_VALUE"


def _variables(version):
    """Reads which variables a SavedModel has.

    Returns:
        A list of `_Variable` in the order of the model's `variables`.

    Raises:
        ValueError: The files have changed, or cannot be read.
    """
    folder = version / "variables"
    for path in folder.glob("variables.*"):
        atomic_files.check(path)
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables"))
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor(GRAPH))
    # Of a corrupt file TensorFlow and protobuf raise errors of many types.
    except Exception as error:
        raise ValueError(
            "The SavedModel's variables cannot be read. Expected the files that were "
            f"exported. Received: {folder} ({str(error).splitlines()[0]})"
        ) from error
    names = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            found = VARIABLE.fullmatch(attribute.checkpoint_key)
            if found:
                names[int(found[1])] = attribute.full_name
    return [_Variable(reader, number, names[number]) for number in sorted(names)]


def _are(expected, variables):
    """Returns whether variables have the expected last names and shapes."""
    return len(expected) == len(variables) and all(
        shape == variable.shape
        and (variable.is_short or _plain(variable.name)[-len(names) :] == names)
        for (names, shape), variable in zip(expected, variables, strict=True)
    )


def _plain(path):
    """Returns a variable's path without the numbers that Keras gives to layers."""
    return [NUMBER.sub("", part) for part in path.split("/")]
