"""What a run has learnt from and was selected by: its `images.json`."""

import dataclasses
import json
import pathlib

from ram_tf.storage import atomic_files


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """The images of a run's training, noted when it begins.

    A row more in a csv divides it anew, into other images to learn from, to select by
    and to report on. So a run goes on with those that it began with, and they are
    known when others are reported.

    Args:
        path: Of the note; without a file nothing is known.
    """

    path: pathlib.Path

    def record(self, train, selection):
        """Writes what a run learns from and selects by, two `Split`s."""
        noted = {
            name: {"sha256": split.digest, "names": split.names}
            for name, split in {"train": train, "selection": selection}.items()
        }
        with atomic_files.write_with_checksum(self.path) as temporary:
            temporary.write_text(json.dumps(noted, indent=1) + "\n", "utf-8")

    def check_same(self, train, selection):
        """Raises a `ValueError` where images or labels are not those that are noted."""
        noted = self._read()
        changed = [
            name
            for name, split in {"train": train, "selection": selection}.items()
            if noted[name]["sha256"] != split.digest
        ]
        if changed:
            raise ValueError(
                "A run can only be resumed with the images and labels that it began "
                f"with, or in another --output_dir. Expected those of {self.path}. "
                f"Received: others for {' and '.join(changed)}"
            )

    def check_disjoint(self, split, but=()):
        """Raises a `ValueError` where a `Split` to report on has images of these.

        Args:
            split: The `Split`.
            but: "train" or "selection", where it may have images of these.
        """
        counted = {"train", "selection"} - set(but)
        shared = set(split.names) & set().union(*map(self.names, counted))
        if shared:
            raise ValueError(
                "Images are to be reported that a run has learnt from or was selected "
                f"by. Expected none of {self.path}. Received: {len(shared)} of "
                f"{len(split)} of the split {split.name}, such as {min(shared)}"
            )

    def names(self, of="train"):
        """The names of the images of "train" or "selection"; none where not noted."""
        return self._read().get(of, {}).get("names", ())

    def _read(self):
        return json.loads(atomic_files.read(self.path)) if self.path.is_file() else {}
