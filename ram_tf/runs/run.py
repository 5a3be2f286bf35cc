"""A run's folder: what it holds, and how it is started, resumed and opened.

config.json             its format, every setting, and the labels in order
images.json             what it has learnt from and is selected by, see `leakage`
pooled.weights.h5       step 1's best weights, the baseline
model.weights.h5        step 2's best weights
calibration.json        its temperature and thresholds, where --calibrate asks for them
svm.npz                 SVMs on its descriptions, once evaluate.py --svm has fitted them
outputs/                what the model said of splits, kept by evaluate.py
checksums/              of those files above that have none of their own
lock                    held by the process that trains
results.json            the figures on the report split
regions.png             regions on a dozen images
image_bytes.npy images/ these images, to try the SavedModel on
step1/ step2/           checkpoint and history of each step, logs for TensorBoard
pooling.txt             pooling "best": the one that was chosen (step1-average/ and
                        step1-max/ are then in place of step1/)
../proposals-K.npz      object proposals of images, where --region_source asks for them
"""

import dataclasses
import pathlib

from ram_tf.metrics.calibration import Calibration
from ram_tf.runs import run_splits
from ram_tf.runs.config import Config
from ram_tf.runs.config_json import from_json
from ram_tf.runs.leakage import TrainingImages
from ram_tf.storage import atomic_files, locks


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder of a run, its settings and its labels.

    Args:
        folder: Where it is.
        config: The `Config`.
        label_names: The L labels, in the order of the scores.
    """

    folder: pathlib.Path
    config: Config
    label_names: tuple[str, ...]

    @classmethod
    def start(cls, folder, settings, label_names, resume=False):
        """Creates the folder, or takes up the run that it holds.

        A run of which nothing is trained is begun anew: its settings may be what
        stopped it.

        Raises:
            FileExistsError: It holds a run, and `resume` is false.
            ValueError: It holds a run with other settings or labels, or the settings
                do not fit the labels or the backbone.
            BlockingIOError: Another process is at work on it.
            OSError: The folder cannot be written.
        """
        run = cls(pathlib.Path(folder), settings, tuple(label_names))
        settings.check_units()
        settings.check_cells()
        atomic_files.make_folder(run.folder)
        locks.take(run.folder / "lock")
        if run.begun:
            if not resume:
                raise FileExistsError(
                    "The output folder holds a run already. Expected a new folder, or "
                    f"--resume to go on with that run. Received: {folder}"
                )
            run._must_equal(cls.open(folder))
        else:
            with atomic_files.write_with_checksum(
                run.folder / "config.json"
            ) as temporary:
                temporary.write_text(settings.to_json(label_names))
        run._remove_left()
        return run

    @classmethod
    def open(cls, folder):
        """Reads the run of a folder.

        Raises:
            FileNotFoundError: There is none.
            ValueError: Its configuration cannot be read, or is of another version.
        """
        folder = pathlib.Path(folder)
        path = folder / "config.json"
        if not path.is_file():
            raise FileNotFoundError(
                "This is no folder of a run. Expected a folder that fit.py wrote, with "
                f"a config.json in it. Received: {folder}"
            )
        return cls(folder, *from_json(atomic_files.read(path), path))

    def _must_equal(self, other):
        ours, theirs = self.config.flat(), other.config.flat()
        ours["label_names"], theirs["label_names"] = self.label_names, other.label_names
        changed = [
            f"{name}={ours[name]!r} (was {theirs[name]!r})"
            for name in ours
            if ours[name] != theirs[name]
        ]
        if changed:
            raise ValueError(
                "A run can only be resumed with its own settings. Expected those of "
                f"{other.folder / 'config.json'}, or another --output_dir. "
                f"Received: {', '.join(changed)}"
            )

    @property
    def training_images(self):
        return TrainingImages(self.folder / "images.json")

    def record_training_images(self, train, selection):
        """Notes what a run learns from and selects by, or checks it of a begun one.

        Args:
            train: The `Split` that it learns from.
            selection: The `Split` that its best epoch is selected by.

        Raises:
            ValueError: It began with other images or labels.
        """
        if self.begun and self.training_images.path.is_file():
            self.training_images.check_same(train, selection)
        else:
            self.training_images.record(train, selection)

    def check_not_trained_on(self, split, settings):
        """Raises a `ValueError` where a split to report on has images of its training.

        What it learns from and is selected by may be asked for by their own names.

        Args:
            split: The `Split`.
            settings: The `Config` that it was read by: the names of another data set's
                images say nothing.
        """
        own = self.config
        places = [
            pathlib.Path(each.data.data_dir).resolve() for each in (own, settings)
        ]
        if own.data.dataset != settings.data.dataset or places[0] != places[1]:
            return
        names = run_splits.names_of(own)
        asked = {names.train: ("train", "selection"), names.selection: ("selection",)}
        self.training_images.check_disjoint(split, asked.get(split.name, ()))

    def _remove_left(self):
        """Removes what a killed process was writing, and nothing of the user's."""
        for own in (".", "checksums", "outputs", "images", "step*", "step*/checksums"):
            atomic_files.remove_leftovers(self.folder, own)

    @property
    def begun(self):
        """Whether anything of it is trained."""
        checkpoints = self.folder.glob("step1*/checkpoint.npz")
        trained = self.pooled_weights.exists() or any(checkpoints)
        return trained and (self.folder / "config.json").exists()

    @property
    def pooled_weights(self):
        return self.folder / "pooled.weights.h5"

    @property
    def model_weights(self):
        return self.folder / "model.weights.h5"

    @property
    def calibration_file(self):
        return self.folder / "calibration.json"

    @property
    def calibration(self):
        """The `Calibration`, which changes nothing where none was asked for.

        Raises:
            FileNotFoundError: One was asked for, and is not there.
        """
        if not self.calibration_file.is_file():
            if self.config.evaluation.calibrate:
                raise FileNotFoundError(
                    "The run's temperature and thresholds are missing. Expected "
                    f"{self.calibration_file}, which its fit.py writes at the end; "
                    "--resume goes on with it"
                )
            return Calibration(1.0, (0.5,) * len(self.label_names))
        text = atomic_files.read(self.calibration_file)
        return Calibration.from_json(text, self.label_names)

    @property
    def svm(self):
        return self.folder / "svm.npz"

    @property
    def pooling(self):
        """The pooling of step 1, for "best" the one that selection preferred."""
        if self.config.model.pooling != "best":
            return self.config.model.pooling
        return atomic_files.read_text(self.folder / "pooling.txt").strip()
