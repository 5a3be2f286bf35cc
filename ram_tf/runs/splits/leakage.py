"""`images.json`: the training and validation images of a run."""

import dataclasses
import json
import pathlib

from ram_tf.data.shards import shard_folder
from ram_tf.storage import atomic_files


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """The record of a run's training and validation images.

    An additional row in a csv changes how its images are divided into splits. The
    record ensures that a run is resumed with the same images, and not tested on them.

    Args:
        path: The `images.json`; if there is no file, no images are recorded.
    """

    path: pathlib.Path

    def record(self, train, selection, seen=()):
        """Writes the images of a run.

        Args:
            train: The training `Split`.
            selection: The validation `Split`.
            seen: The images of the models that the run starts from: dicts of `dataset`,
                `data_dir` and the names of `train` and `selection`.
        """
        recorded = {
            name: {"sha256": split.digest, "names": split.names}
            for name, split in {"train": train, "selection": selection}.items()
        }
        if seen:
            recorded["seen"] = list(seen)
        with atomic_files.write_with_checksum(self.path) as temporary:
            temporary.write_text(json.dumps(recorded, indent=1) + "\n", "utf-8")

    def check_same(self, train, selection):
        """Raises a `ValueError` if images or labels differ from the recorded ones."""
        recorded = self._read()
        changed = [
            name
            for name, split in {"train": train, "selection": selection}.items()
            if recorded[name]["sha256"] != split.digest
        ]
        if changed:
            raise ValueError(
                "A run can only be resumed with the images and labels that it began "
                f"with. Expected those of {self.path}, or another --output_dir. "
                f"Received: others for {' and '.join(changed)}"
            )

    def check_disjoint(self, split, allowed=()):
        """Raises a `ValueError` if a `Split` to test on has recorded images.

        Args:
            split: The `Split`.
            allowed: "train" and "selection" if images of these are allowed.
        """
        forbidden = {"train", "selection"} - set(allowed)
        shared = set(split.names) & set().union(*map(self.names, forbidden))
        if shared:
            raise ValueError(
                "The split to test on has images that the run was trained or validated "
                f"on. Expected none of {self.path}. Received: {len(shared)} of "
                f"{len(split)} of the split {split.name}, such as {min(shared)}"
            )

    def check_unseen(self, split, settings):
        """Raises a `ValueError` if a split to test on has images of earlier models.

        Args:
            split: The `Split`.
            settings: The `Config` that it was read with; images of other data are not
                compared.
        """
        for record in self.seen:
            if not is_same_data(record["dataset"], record["data_dir"], settings):
                continue
            shared = shared_names(split, record)
            if shared:
                raise ValueError(
                    "The split to test on has images that the model which the run "
                    "starts from was trained or validated on. Expected none that "
                    f"{self.path} names as seen. Received: {len(shared)} of "
                    f"{len(split)} of the split {split.name}, such as {min(shared)}"
                )

    @property
    def seen(self):
        """The recorded images of the models that the run starts from, see `record`."""
        return self._read().get("seen", [])

    def names(self, of="train"):
        """Returns the recorded image names of "train" or "selection", or ()."""
        return self._read().get(of, {}).get("names", ())

    def _read(self):
        return json.loads(atomic_files.read(self.path)) if self.path.is_file() else {}


def shared_names(split, record, parts=("train", "selection")):
    """Returns the names of a split's images that a record of `TrainingImages` has."""
    return set(split.names) & set().union(*(record[part] for part in parts))


def is_same_data(dataset, data_dir, settings):
    """Returns whether names of images of a dataset are those that settings read.

    Shards have the names of the dataset that they were made of.
    """
    own = settings.data
    pairs = [
        shard_folder.source(*each)
        for each in ((dataset, data_dir), (own.dataset, own.data_dir))
    ]
    one, other = ((name, pathlib.Path(folder).resolve()) for name, folder in pairs)
    return one == other
