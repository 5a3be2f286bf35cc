"""A batch: a long list of images, its division into shards, and its output folder.

Files are read and written through Beam's `FileSystems`, so that each path may be local
or on any storage that the installed Beam supports.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import uuid
from typing import NamedTuple

import ram_tf
from ram_tf.data.images.image_faults import REFUSE
from ram_tf.runs.config_json import from_exported_json
from ram_tf.serving import extras
from ram_tf.serving.batch.records import FORMATS
from ram_tf.serving.image_search import parse_list
from ram_tf.serving.predictor import Predictor

with extras.required("beam", "Batch prediction"):
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems

MANIFEST, LIST = "manifest.json", "images.jsonl"
WILDCARDS = "*?["


class Shard(NamedTuple):
    """A part of the list of images, which is finished as a whole or not at all.

    Args:
        number: Its number, from 0.
        start: Offset of its first line in the list of images, in bytes.
        count: Number of images.
    """

    number: int
    start: int
    count: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch and its output folder; small, so that it can be sent to each worker.

    The folder holds the list of images, a manifest, and two files for each finished
    shard: the records (`part-`), and the images without a record, with the reason
    (`unread-`). A shard is finished when its `part-` file exists.

    Args:
        folder: Path of the folder.
        file_format: Format of the records, a key of `FORMATS`.
        label_names: The L labels.
        max_pixels: Images with more pixels count as unreadable.
        shards: All `Shard`s.
        truncated: The model's setting for files that are cut off.
    """

    folder: str
    file_format: str
    label_names: tuple[str, ...]
    max_pixels: int
    shards: tuple[Shard, ...]
    truncated: str = REFUSE

    @classmethod
    def open(cls, folder, images, model_dir, file_format, shard_size, threshold=None):
        """Creates a batch, or continues the one that the folder holds.

        Args:
            folder: Path of the folder, created if it is missing.
            images: Paths; a path that occurs twice counts as two images.
            model_dir: A version folder of a SavedModel.
            file_format: A key of `FORMATS`.
            shard_size: Images in a shard.
            threshold: See `ram_tf.serving.predict_files.predict`.

        Raises:
            ValueError: There are no images, the format is unknown, the size is below
                1, or the folder holds another batch or other files.
            FileNotFoundError: There is no SavedModel.
        """
        if not images or shard_size < 1 or file_format not in FORMATS:
            raise ValueError(
                "The batch cannot be created. Expected 1 or more images, --shard_size "
                f"of 1 or more and a --format of {', '.join(FORMATS)}. Received: "
                f"{len(images)} images, {shard_size} and {file_format}"
            )
        settings, label_names, digest = describe_model(model_dir)
        lines = [json.dumps(path).encode() + b"\n" for path in images]
        manifest = {
            "images": len(images),
            "list": hashlib.sha256(b"".join(lines)).hexdigest(),
            "model": digest,
            "threshold": threshold,
            "format": file_format,
            "shard_size": shard_size,
            "version": ram_tf.__version__,
            "label_names": label_names,
        }
        batch = cls(
            folder=folder,
            file_format=file_format,
            label_names=tuple(label_names),
            max_pixels=settings.data.max_pixels,
            shards=tuple(_divide(lines, shard_size)),
            truncated=settings.data.truncated,
        )
        batch._create_or_check(manifest, lines)
        return batch

    def _create_or_check(self, manifest, lines):
        if not FileSystems.exists(self.folder):
            with contextlib.suppress(FileExistsError):
                FileSystems.mkdirs(self.folder)
        # Incomplete files of a process that was killed.
        _delete(self._list_files("partial-"))
        if not FileSystems.exists(self._path(MANIFEST)):
            if self._list_files("part-"):
                raise ValueError(
                    "The folder holds records of unknown origin. Expected an empty "
                    f"folder or one with {MANIFEST}. Received: {self.folder}"
                )
            self._write(LIST, b"".join(lines))
            self._write(MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
            return
        stored = json.loads(read(self._path(MANIFEST)))
        other = [name for name in manifest if stored.get(name) != manifest[name]]
        if other:
            raise ValueError(
                f"The folder holds another batch. Expected the same {', '.join(other)} "
                "as when it was created, or another --output_dir. Received: "
                f"{self.folder}"
            )

    def unfinished(self):
        """Lists the shards that are not finished."""
        found = {path.rpartition("part-")[2] for path in self._list_files("part-")}
        return [s for s in self.shards if self._file_name("part", s)[5:] not in found]

    def paths(self, shard):
        """Yields the paths of a shard's images, in order."""
        with open_file(self._path(LIST)) as file:
            file.seek(shard.start)
            for _ in range(shard.count):
                yield json.loads(file.readline())

    def finish(self, shard, records, unread):
        """Writes the two files of a shard, each with an atomic write.

        Args:
            shard: The `Shard`.
            records: Dicts of `ram_tf.serving.predict_files.to_record`.
            unread: Dicts with `image`, `reason` and `detail`.
        """
        lines = "".join(json.dumps(each) + "\n" for each in unread)
        self._write(self._file_name("unread", shard), lines.encode())
        # Last, since this file marks the shard as finished.
        encoded = FORMATS[self.file_format](records, self.label_names)
        self._write(self._file_name("part", shard), encoded)

    def unread(self):
        """Counts the images without records in finished shards, by reason."""
        waiting = set(self.unfinished())
        names = (self._file_name("unread", s) for s in self.shards if s not in waiting)
        files = (read(self._path(name)).splitlines() for name in names)
        return collections.Counter(
            json.loads(row)["reason"] for f in files for row in f
        )

    def _file_name(self, kind, shard):
        ending = self.file_format if kind == "part" else "jsonl"
        return f"{kind}-{shard.number:05}-of-{len(self.shards):05}.{ending}"

    def _path(self, name):
        return FileSystems.join(self.folder, name)

    def _list_files(self, start):
        within = [each for each in _files(self.folder) if "/" not in each[0]]
        return [path for name, path in within if name.startswith(start)]

    def _write(self, name, content):
        temporary = self._path(f"partial-{uuid.uuid4().hex}-{name}")
        with FileSystems.create(
            temporary, compression_type=CompressionTypes.UNCOMPRESSED
        ) as file:
            file.write(content)
        FileSystems.rename([temporary], [self._path(name)])


def _divide(lines, size):
    start = 0
    for number, first in enumerate(range(0, len(lines), size)):
        part = lines[first : first + size]
        yield Shard(number, start, len(part))
        start += sum(map(len, part))


def list_images(patterns, lines=()):
    """Lists the images of a batch.

    Args:
        patterns: Paths with wildcards: `*` and `?` match parts of a name, `**` also
            folders, and `[...]` one of several characters, unless a file of exactly
            this name exists.
        lines: More paths, taken as they are.

    Returns:
        A list of paths; the matches of a pattern are sorted. Paths without wildcards
        need not exist.

    Raises:
        FileNotFoundError: A pattern matches nothing.
    """
    images = []
    for pattern in patterns:
        found = [pattern]
        # A pattern with * or ? matches a file of the same name, one with [ does not.
        is_file = "[" in pattern and FileSystems.exists(pattern)
        if not is_file and any(character in pattern for character in WILDCARDS):
            found = sorted(meta.path for meta in _match(pattern))
        if not found:
            raise FileNotFoundError(
                "There are no such images. Expected a pattern that files match. "
                f"Received: {pattern}"
            )
        images += found
    return images + list(lines)


def read_list(path, stdin):
    """Reads a list of images.

    Args:
        path: A file with a path on each line; "-" for `stdin`.
        stdin: A binary file.

    Returns:
        The paths, without empty lines.
    """
    content = stdin.read() if path == "-" else read(path)
    return parse_list(content)


def describe_model(folder):
    """Reads the settings and labels of a SavedModel, without loading it.

    Returns:
        The `Config`, the label names, and a checksum of all its files.

    Raises:
        FileNotFoundError: The folder is not a version folder of a SavedModel.
    """
    config = FileSystems.join(folder, "assets.extra", "config.json")
    if not FileSystems.exists(config):
        raise FileNotFoundError(
            "There is no model. Expected a version folder of a SavedModel, with "
            f"assets.extra/config.json. Received: {folder}"
        )
    digest = hashlib.sha256()
    for name, path in _files(folder):
        content = hashlib.sha256(read(path)).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    settings, label_names = from_exported_json(read(config).decode())
    return settings, list(label_names), digest.hexdigest()


def load_model(folder):
    """Loads a `Predictor` of a SavedModel from any of Beam's file systems."""
    if FileSystems.get_scheme(folder) is None:
        return Predictor.load(folder)
    with tempfile.TemporaryDirectory() as local:
        for name, path in _files(folder):
            copy = FileSystems.join(local, *name.split("/"))
            with contextlib.suppress(OSError):
                FileSystems.mkdirs(FileSystems.split(copy)[0])
            with open(copy, "wb") as file:
                file.write(read(path))
        return Predictor.load(local)


def _files(folder):
    """Lists the files below a folder as pairs of relative name and path, sorted."""
    within = FileSystems.join(folder, "")
    with _listing(folder):
        # Every file system has it; the public methods treat the folder as a pattern.
        found = [*FileSystems.get_filesystem(within)._list(within)]
    return sorted(
        (meta.path[len(within) :].replace("\\", "/"), meta.path) for meta in found
    )


def _match(pattern):
    with _listing(pattern):
        return FileSystems.match([pattern])[0].metadata_list


@contextlib.contextmanager
def _listing(path):
    try:
        yield
    except BeamIOError as error:
        # Its own message ends in a dict of exceptions.
        reason = next(iter((error.exception_details or {0: error}).values()))
        raise OSError(f"{path} cannot be listed. Received: {reason}") from error


def _delete(paths):
    for path in paths:
        # Beam would treat a local path as a pattern.
        if FileSystems.get_scheme(path) is None:
            os.remove(path)
        else:
            FileSystems.delete([path])


def open_file(path):
    """Opens a file for reading, without decompression, whatever its suffix."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read(path):
    """Reads the bytes of a file."""
    with open_file(path) as file:
        return file.read()
