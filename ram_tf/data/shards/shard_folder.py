"""Reads a folder of shards that `ram-tf shard` wrote, as one more kind of dataset.

shards.json             the splits, their labels, and which shards they have
train-00000.tfrecord    images, each a `tf.train.Example` of a TFRecord file
train-00000.npz         the index: where each image lies, its name and labels
"""

import dataclasses
import json
import pathlib

from ram_tf.data.dataset_names import SHARDS_FILE
from ram_tf.data.shards import shard_index
from ram_tf.data.shards.shard_index import ShardIndex
from ram_tf.data.split import Split, check_label_names, path_inside
from ram_tf.storage import atomic_files

FORMAT = 1
ENDING = ".tfrecord"
FRAME = 16  # bytes of a record that holds nothing


@dataclasses.dataclass(frozen=True)
class ShardedSplit:
    """What `shards.json` says of a split.

    Args:
        label_names: See `Split`.
        notes: See `Split`.
        shards: `{"name", "bytes", "images"}` of each shard, in order.
    """

    label_names: list
    notes: list
    shards: list


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `shards.json`.

    Args:
        complete: Whether all shards are written.
        dataset: The dataset that the shards were made of.
        data_dir: Its folder, or "".
        limits: The `max_pixels` and `truncated` by which images were read.
        uses: The names of the splits to train, select and report on, as
            `datasets.Splits`.
        splits: From the name of a split to its `ShardedSplit`.
    """

    complete: bool
    dataset: str
    data_dir: str
    limits: tuple
    uses: list
    splits: dict

    def write(self, folder):
        """Writes `shards.json`, atomically."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        with atomic_files.write_with_checksum(folder / SHARDS_FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, folder):
        """Reads `shards.json`.

        Raises:
            FileNotFoundError: The folder has none.
            ValueError: The file cannot be read, or has changed.
        """
        path = pathlib.Path(folder) / SHARDS_FILE
        if not path.is_file():
            raise FileNotFoundError(
                "There are no shards. Expected a folder that `ram-tf shard` wrote, "
                f"with {SHARDS_FILE}. Received: {folder}"
            )
        text = atomic_files.read_text(path)
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            splits = {
                str(name): ShardedSplit(**each)
                for name, each in content.pop("splits").items()
            }
            manifest = cls(**content, splits=splits)
            manifest.check(path)
        except (
            *(AttributeError, KeyError, TypeError, ValueError),
            *(IndexError, OverflowError, RecursionError),
        ) as error:
            raise ValueError(
                "The list of shards cannot be read. Expected the file of format "
                f"{FORMAT} that `ram-tf shard` wrote. Received: {path} ({error!r})"
            ) from error
        return dataclasses.replace(manifest, limits=tuple(manifest.limits))

    def check(self, where):
        """Raises a `ValueError` or `TypeError` if a value is of another kind."""
        texts = [self.dataset, self.data_dir, self.uses[0], self.uses[2]]
        for split in self.splits.values():
            check_label_names(split.label_names, where)
            if not split.shards:
                raise ValueError("a split without shards")
            texts += split.notes
            for shard in split.shards:
                name, counts = shard["name"], (shard["bytes"], shard["images"])
                is_name = "/" not in path_inside(name, where)
                if not is_name or [type(count) for count in counts] != [int, int]:
                    raise ValueError(f"the shard {shard!r}")
                # So that no list claims more memory than its shards have bytes.
                if not 0 <= FRAME * counts[1] <= counts[0]:
                    raise ValueError(f"{counts[1]} images in {counts[0]} bytes")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("texts that are none")
        if len(self.uses) != 3 or [type(each) for each in self.limits] != [int, str]:
            raise ValueError("other uses or limits")
        if self.complete and not {*self.uses} - {None} <= {*self.splits}:
            raise ValueError("uses of other splits")


def load(data_dir, split):
    """Reads one split of a folder of shards.

    Args:
        data_dir: The folder.
        split: The name of the split, as in the dataset that the shards were made of.

    Returns:
        A `Split` as that dataset's, whose images are `FileRanges`; with `greys`,
        `unreadable` and `scanned`.

    Raises:
        FileNotFoundError: The folder, the split or a file is missing.
        ValueError: A shard is cut off, an index is invalid, or shards are not written
            yet.
    """
    folder = pathlib.Path(data_dir)
    manifest = _complete(folder)
    if split not in manifest.splits:
        raise FileNotFoundError(
            f"There is no split {split!r} in {folder}. Expected one of: "
            f"{', '.join(manifest.splits)}. Received: split={split!r}"
        )
    about = manifest.splits[split]
    paths = [folder / f"{shard['name']}{ENDING}" for shard in about.shards]
    for path, shard in zip(paths, about.shards, strict=True):
        _check_size(path, shard["bytes"])
    arguments = shard_index.joined(
        (
            _index(path, shard["images"], len(about.label_names))
            for path, shard in zip(paths, about.shards, strict=True)
        ),
        map(str, paths),
        sum(shard["images"] for shard in about.shards),
    )
    return Split(
        **arguments,
        label_names=tuple(about.label_names),
        notes=tuple(about.notes),
        scanned=manifest.limits,
    )


def uses(data_dir):
    """Returns the names of the splits to train, select and report on.

    Raises:
        FileNotFoundError: The folder has no shards.
        ValueError: They are not all written, or cannot be read.
    """
    return _complete(pathlib.Path(data_dir)).uses


def label_names(data_dir):
    """Returns the names of the labels of the split to train on; see `uses`."""
    manifest = _complete(pathlib.Path(data_dir))
    return manifest.splits[manifest.uses[0]].label_names


def source(dataset, data_dir):
    """Returns the dataset that shards were made of, and its folder.

    A dataset that is no folder of shards, or one that cannot be read, is its own.

    Args:
        dataset: One of `dataset_names.NAMES`.
        data_dir: Its folder, or "".
    """
    if dataset == "shards":
        try:
            manifest = Manifest.read(data_dir)
        except (OSError, ValueError):
            return dataset, data_dir  # reported where it is read
        return manifest.dataset, manifest.data_dir
    return dataset, data_dir


def _complete(folder):
    """Reads the manifest of a folder whose shards are all written."""
    manifest = Manifest.read(folder)
    if not manifest.complete:
        raise ValueError(
            "The shards are not all written. Expected `ram-tf shard` to have ended; "
            f"the same command goes on where it was interrupted. Received: {folder}"
        )
    return manifest


def _check_size(path, expected):
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise FileNotFoundError(
            f"A shard is missing. Expected {expected} bytes. Received: no file {path}"
        ) from None
    if size != expected:
        raise ValueError(
            f"A shard is cut off or has changed. Expected {expected} bytes. Received: "
            f"{size} in {path}"
        )


def _index(path, images, labels):
    """Reads the index of a shard."""
    place = path.with_suffix(shard_index.ENDING)
    try:
        index = ShardIndex.read(place)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"The index of a shard is missing. Expected it beside {path.name}. "
            f"Received: no file {place}"
        ) from None
    shape = len(index), index.labels.shape[1]
    if shape != (images, labels):
        raise ValueError(
            f"The index of a shard is that of another. Expected {images} images with "
            f"{labels} labels. Received: {shape[0]} with {shape[1]} in {place}"
        )
    return index
