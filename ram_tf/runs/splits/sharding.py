"""Writes the splits of a run into a folder of shards."""

import contextlib
import dataclasses
import pathlib
import re
import shutil

from ram_tf.data.dataset_names import SHARDS_FILE
from ram_tf.data.shards import shard_folder, shard_index, shard_writer
from ram_tf.data.shards.shard_folder import Manifest, ShardedSplit
from ram_tf.runs.splits import run_splits
from ram_tf.storage import atomic_files, locks

LOCK = "lock"
OWN_FILES = re.compile(
    rf".+-\d{{5,}}({re.escape(shard_folder.ENDING)}|{re.escape(shard_index.ENDING)})"
)


def write(settings, folder, shard_bytes):
    """Writes the splits of a run as shards, or goes on where that was interrupted.

    Args:
        settings: The `Config`.
        folder: The folder, empty or that of an earlier call.
        shard_bytes: About the size of a shard.

    Returns:
        The `Manifest`.

    Raises:
        FileNotFoundError: The dataset, or a split of it, does not exist.
        ValueError: The folder holds something else; images cannot be read, and
            `skip_unreadable` is not set; the disk has not enough room; or the dataset
            is one of shards.
        OSError: A file cannot be written, or another process is at work in the folder.
    """
    if settings.data.dataset == "shards":
        raise ValueError(
            "Shards are not made of shards. Expected the dataset that they were made "
            f"of. Received: --data_dir {settings.data.data_dir}"
        )
    folder = pathlib.Path(folder)
    earlier = _earlier(folder)
    atomic_files.make_folder(folder)
    locks.take(folder / LOCK)
    try:
        return _write(settings, folder, shard_bytes, earlier)
    finally:
        locks.release(folder / LOCK)


def _write(settings, folder, shard_bytes, earlier):
    uses = run_splits.names_of(settings)
    limits = settings.data.max_pixels, settings.data.truncated
    source = settings.data.dataset, settings.data.data_dir
    manifest = Manifest(False, *source, limits, list(uses), {})
    splits = [
        run_splits.read_split(settings, name)
        for name in dict.fromkeys(uses)
        if name is not None
    ]
    planned = [shard_writer.plan(split, limits, shard_bytes) for split in splits]
    waiting = [
        [shard for shard in shards if not shard_writer.find(shard, folder)]
        for shards in planned
    ]
    if earlier and earlier.complete:
        same = dataclasses.replace(manifest, complete=True, splits=earlier.splits)
        if any(waiting) or same != earlier:
            raise _other_content(folder, "shards of other images, labels or settings")
        return earlier
    _check_room(folder, sum(shard.bytes for shards in waiting for shard in shards))
    manifest.write(folder)
    _remove_others(folder, {shard.name for shards in planned for shard in shards})
    for split, shards, missing in zip(splits, planned, waiting, strict=True):
        if missing:
            shard_writer.write(split, missing, folder, limits)
        written = [shard_writer.find(shard, folder) for shard in shards]
        manifest.splits[split.name] = ShardedSplit(
            list(split.label_names),
            list(split.notes),
            [
                {"name": each.name, "bytes": each.bytes, "images": each.images}
                for each in written
            ],
        )
        # Refused at the end: what is written stays for a call that skips them.
        _check_readable(split, written, settings)
    manifest = dataclasses.replace(manifest, complete=True)
    manifest.write(folder)
    return manifest


def _earlier(folder):
    """Returns the `Manifest` of an earlier call, None for an empty folder.

    Raises:
        ValueError: The folder holds something else.
    """
    if (folder / SHARDS_FILE).exists():
        return Manifest.read(folder)
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if set(others) - {LOCK}:
        raise _other_content(folder, f"{len(others)} files, such as {min(others)}")
    return None


def _other_content(folder, what):
    return ValueError(
        "The folder holds something else. Expected an empty folder, or the same images "
        f"and settings as when its shards were written. Received: {folder} with {what}"
    )


def _check_room(folder, needed):
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"The shards do not fit into {folder}. Expected {needed / 2**30:.2f} GiB. "
            f"Received: {free / 2**30:.2f} GiB that are free"
        )


def _remove_others(folder, names):
    """Removes what interrupted calls left: temporary files, and shards not planned."""
    atomic_files.remove_leftovers(folder)
    for path in folder.iterdir():
        if OWN_FILES.fullmatch(path.name) and path.stem not in names:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _check_readable(split, written, settings):
    count = sum(shard.images for shard in written)
    unreadable = tuple(bad for shard in written for bad in shard.unreadable)
    kept = dataclasses.replace(split.take(range(count)), unreadable=unreadable)
    run_splits.check_readable(kept, settings)
