"""`Run`: the folder of a training run, which is started, resumed and opened here.

config.json             format, all settings, and the labels in order
images.json             names of the training and validation images, see `leakage`
curves.png              losses and validation mAP of both steps, see `learning_curves`
pooled.weights.h5       best weights of step 1, the baseline
model.weights.h5        best weights of step 2
calibration.json        temperature and thresholds, with --calibrate
svm.npz                 SVMs on the model's features, fitted by evaluate.py --svm
outputs/                outputs of the model for whole splits, cached by evaluate.py
checksums/              checksums of the files above that do not contain their own
lock                    held by the process that trains
results.json            metrics on the test split
regions.png             regions on a dozen images
images/                 these images, to try the SavedModel on
image_bytes.npy         the content of their files, for saved_model_cli
step1/ step2/           checkpoint, history and TensorBoard logs of each step
pooling.txt             the chosen pooling of pooling "best" (with step1-average/ and
                        step1-max/ instead of step1/)
../proposals-K.npz      object proposals of images, with --region_source proposals
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable
from typing import Any, Self

from ram_tf.data.split import Split
from ram_tf.metrics.calibration import Calibration
from ram_tf.runs.config import FOLDERS, Config
from ram_tf.runs.config_json import from_json
from ram_tf.runs.splits import run_splits
from ram_tf.runs.splits.leakage import TrainingImages, is_same_data
from ram_tf.storage import atomic_files, locks

Folder = str | os.PathLike[str]
# With these defaults of earlier versions, today's command line began some runs.
EARLIER_DEFAULTS = {"max_pixels": 50_000_000}


def _is_same(name, new, old):
    """Whether a run may be resumed with a setting's new value."""
    if name in FOLDERS:
        # Earlier versions kept the path as it was given; and data may have moved, which
        # the names and labels in images.json must survive.
        return os.path.abspath(new) == os.path.abspath(old) or (
            bool(new and old) and not os.path.exists(old)
        )
    is_default = name in EARLIER_DEFAULTS and new == Config()[name]
    return new == old or (is_default and old == EARLIER_DEFAULTS[name])


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder, the settings and the labels of a run.

    Args:
        folder: Path of the folder.
        config: The `Config`.
        label_names: The L labels, in the order of the scores.
    """

    folder: pathlib.Path
    config: Config
    label_names: tuple[str, ...]

    @classmethod
    def start(
        cls,
        folder: Folder,
        settings: Config,
        label_names: Iterable[str],
        resume: bool = False,
    ) -> Self:
        """Creates the folder of a new run, or resumes the run that it holds.

        A run without trained weights is started again, with any settings.

        Raises:
            FileExistsError: The folder holds a run, and `resume` is false.
            ValueError: The folder holds a run with other settings or labels, or the
                settings do not fit the backbone.
            BlockingIOError: Another process is training in the folder.
            OSError: The folder cannot be written.
        """
        run = cls(pathlib.Path(folder), settings, tuple(label_names))
        settings.check_units()
        settings.check_cells()
        atomic_files.make_folder(run.folder)
        locks.take(run.folder / "lock")
        if run.has_started:
            if not resume:
                raise FileExistsError(
                    "The output folder holds a run already. Expected a new folder, or "
                    f"--resume to go on with that run. Received: {folder}"
                )
            run._check_same_settings(cls.open(folder))
        else:
            with atomic_files.write_with_checksum(
                run.folder / "config.json"
            ) as temporary:
                temporary.write_text(settings.to_json(label_names))
        run._remove_leftovers()
        return run

    @classmethod
    def open(cls, folder: Folder) -> Self:
        """Opens the run in a folder.

        Raises:
            FileNotFoundError: The folder holds no run.
            ValueError: Its configuration is invalid, or of another version.
        """
        folder = pathlib.Path(folder)
        path = folder / "config.json"
        if not path.is_file():
            raise FileNotFoundError(
                "This is no folder of a run. Expected a folder that fit.py wrote, with "
                f"a config.json in it. Received: {folder}"
            )
        return cls(folder, *from_json(atomic_files.read(path), path))

    @classmethod
    def division_of(cls, folder: Folder, settings: Config) -> str:
        """Returns how the images of a run in a folder are divided.

        A run is resumed with the images that it began with, whose division may be that
        of an earlier version.

        Args:
            folder: The folder of a run, or of a new one.
            settings: The `Config` of a new run, which decides if there is none.

        Raises:
            ValueError: As `open`.
        """
        run = cls(pathlib.Path(folder), settings, ())
        if not run.has_started:
            return settings.data.division
        return cls.open(folder).config.data.division

    def _check_same_settings(self, stored):
        new, old = self.config.flat(), stored.config.flat()
        new["label_names"], old["label_names"] = self.label_names, stored.label_names
        changed = [
            f"{name}={new[name]!r} (was {old[name]!r})"
            for name in new
            if not _is_same(name, new[name], old[name])
        ]
        if changed:
            raise ValueError(
                "A run can only be resumed with its own settings. Expected those of "
                f"{stored.folder / 'config.json'}, or another --output_dir. "
                f"Received: {', '.join(changed)}"
            )

    @property
    def training_images(self) -> TrainingImages:
        return TrainingImages(self.folder / "images.json")

    def record_training_images(
        self, train: Split, selection: Split, seen: Iterable[Any] = ()
    ) -> None:
        """Records the images of a new run, or checks those of a run that has started.

        Args:
            train: The training `Split`.
            selection: The validation `Split`.
            seen: See `TrainingImages.record`.

        Raises:
            ValueError: The run has started with other images or labels.
        """
        if self.has_started and self.training_images.path.is_file():
            self.training_images.check_same(train, selection)
        else:
            self.training_images.record(train, selection, seen)

    def check_not_trained_on(self, split: Split, settings: Config) -> None:
        """Raises a `ValueError` if a split to test on has images of the training.

        The training and validation splits themselves are allowed, by their own names.

        Args:
            split: The `Split`.
            settings: The `Config` that it was read with. It is compared with the
                images of the same data alone, both the run's own and those of the model
                that it starts from.
        """
        own = self.config
        if is_same_data(own.data.dataset, own.data.data_dir, settings):
            names = run_splits.names_of(own)
            allowed = {
                names.train: ("train", "selection"),
                names.selection: ("selection",),
            }
            self.training_images.check_disjoint(split, allowed.get(split.name, ()))
            if split.name in allowed:
                return
        self.training_images.check_unseen(split, settings)

    def _remove_leftovers(self):
        """Removes temporary files of killed processes in the run's own folders."""
        for own in (".", "checksums", "outputs", "images", "step*", "step*/checksums"):
            atomic_files.remove_leftovers(self.folder, own)

    @property
    def has_started(self) -> bool:
        """Whether it has any trained weights or checkpoint."""
        checkpoints = self.folder.glob("step1*/checkpoint.npz")
        trained = self.pooled_weights.exists() or any(checkpoints)
        return trained and (self.folder / "config.json").exists()

    @property
    def pooled_weights(self) -> pathlib.Path:
        return self.folder / "pooled.weights.h5"

    @property
    def model_weights(self) -> pathlib.Path:
        return self.folder / "model.weights.h5"

    @property
    def calibration_file(self) -> pathlib.Path:
        return self.folder / "calibration.json"

    @property
    def calibration(self) -> Calibration:
        """The `Calibration`; without --calibrate one that changes nothing.

        Raises:
            FileNotFoundError: The run was started with --calibrate, but has none.
        """
        if not self.calibration_file.is_file():
            if self.config.evaluation.calibrate:
                raise FileNotFoundError(
                    "The run's calibration is missing. Expected the file "
                    f"{self.calibration_file}, which fit.py writes at the end; finish "
                    "the run with --resume"
                )
            return Calibration(1.0, (0.5,) * len(self.label_names))
        text = atomic_files.read(self.calibration_file)
        return Calibration.from_json(text, self.label_names)

    @property
    def svm(self) -> pathlib.Path:
        return self.folder / "svm.npz"

    @property
    def pooling(self) -> str:
        """The pooling of step 1, for "best" the one better on the validation split."""
        if self.config.model.pooling != "best":
            return self.config.model.pooling
        return atomic_files.read_text(self.folder / "pooling.txt").strip()
