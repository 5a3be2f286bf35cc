"""A batch: a long list of images, the folder of what is said of them, and its shards.

Files are reached through Beam's `FileSystems`, so that each path may be local or of any
storage that Beam has been installed for.
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
from ram_tf.runs.config_json import from_exported_json
from ram_tf.serving.batch.records import FORMATS
from ram_tf.serving.predictor import Predictor

try:
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Batches need Apache Beam. Expected: pip install "
        f'-e ".[beam]". Received: {error}'
    ) from error

MANIFEST, LIST = "manifest.json", "images.jsonl"
WILDCARDS = "*?["


class Shard(NamedTuple):
    """Images that are done together, or not at all.

    Args:
        number: From 0.
        start: Where its first line begins in the list of images, in bytes.
        count: How many images it has.
    """

    number: int
    start: int
    count: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """The folder of a batch; small, so that it can be sent to each worker.

    It holds the list of images, a manifest, and two files for each shard that is
    finished: the records (`part-`) and the images that have none, with the reason
    (`unread-`). A shard is finished when its `part-` file is there.

    Args:
        folder: Where it is.
        ending: The format, a key of `FORMATS`.
        label_names: The L labels.
        max_pixels: Images with more are not read.
        shards: All `Shard`s.
    """

    folder: str
    ending: str
    label_names: tuple[str, ...]
    max_pixels: int
    shards: tuple[Shard, ...]

    @classmethod
    def open(cls, folder, images, model_dir, ending, shard_size, threshold=None):
        """Begins a batch, or takes up the one that the folder holds.

        Args:
            folder: Created where it is missing.
            images: Paths; one that stands there twice is two images.
            model_dir: A version folder of a SavedModel.
            ending: A key of `FORMATS`.
            shard_size: Images a shard.
            threshold: See `ram_tf.serving.predict_files.predict`.

        Raises:
            ValueError: There are no images, the format is unknown, the size is below
                1, or the folder holds another batch or something else.
            FileNotFoundError: There is no SavedModel.
        """
        if not images or shard_size < 1 or ending not in FORMATS:
            raise ValueError(
                "This is no batch. Expected 1 or more images in shards of 1 or more, "
                f"as one of {', '.join(FORMATS)}. Received: {len(images)} images, "
                f"{shard_size} and {ending}"
            )
        settings, label_names, digest = describe_model(model_dir)
        lines = [json.dumps(path).encode() + b"\n" for path in images]
        manifest = {
            "images": len(images),
            "list": hashlib.sha256(b"".join(lines)).hexdigest(),
            "model": digest,
            "threshold": threshold,
            "format": ending,
            "shard_size": shard_size,
            "version": ram_tf.__version__,
            "label_names": label_names,
        }
        shards = tuple(_divide(lines, shard_size))
        batch = cls(
            folder, ending, tuple(label_names), settings.data.max_pixels, shards
        )
        batch._begin(manifest, lines)
        return batch

    def _begin(self, manifest, lines):
        if not FileSystems.exists(self.folder):
            with contextlib.suppress(FileExistsError):
                FileSystems.mkdirs(self.folder)
        # What a killed start was writing, and nobody will finish.
        _delete(self._found("partial-"))
        if not FileSystems.exists(self._path(MANIFEST)):
            if self._found("part-"):
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
                f"as at its beginning, or another folder. Received: {self.folder}"
            )

    def unfinished(self):
        """The shards that are still to be done."""
        found = {path.rpartition("part-")[2] for path in self._found("part-")}
        return [s for s in self.shards if self._name("part", s)[5:] not in found]

    def paths(self, shard):
        """Yields the paths of a shard's images, in order."""
        with open_file(self._path(LIST)) as file:
            file.seek(shard.start)
            for _ in range(shard.count):
                yield json.loads(file.readline())

    def finish(self, shard, records, unread):
        """Writes the two files of a shard, each as a whole.

        Args:
            shard: The `Shard`.
            records: Dicts of `ram_tf.serving.predict_files.describe`.
            unread: Dicts with `image`, `reason` and `detail`.
        """
        lines = "".join(json.dumps(each) + "\n" for each in unread)
        self._write(self._name("unread", shard), lines.encode())
        # The last step: from here on the shard is finished.
        encoded = FORMATS[self.ending](records, self.label_names)
        self._write(self._name("part", shard), encoded)

    def unread(self):
        """Counts the images without records in finished shards.

        Returns:
            A `collections.Counter` from reason to number.
        """
        waiting = set(self.unfinished())
        names = (self._name("unread", s) for s in self.shards if s not in waiting)
        files = (read(self._path(name)).splitlines() for name in names)
        return collections.Counter(
            json.loads(row)["reason"] for f in files for row in f
        )

    def _name(self, kind, shard):
        ending = self.ending if kind == "part" else "jsonl"
        return f"{kind}-{shard.number:05}-of-{len(self.shards):05}.{ending}"

    def _path(self, name):
        return FileSystems.join(self.folder, name)

    def _found(self, start):
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
    """Names the images of a batch.

    Args:
        patterns: Paths, in which `*` and `?` stand for parts of a name and `**` for
            folders, too; `[` begins a choice of characters, unless there is a file of
            just this name.
        lines: More paths, taken as they are.

    Returns:
        A list; what a pattern matches is sorted. Whether a path without wildcards
        exists is not asked.

    Raises:
        FileNotFoundError: A pattern matches nothing.
    """
    images = []
    for pattern in patterns:
        found = [pattern]
        # Of the wildcards, only a bracket does not stand for itself, too.
        itself = "[" in pattern and FileSystems.exists(pattern)
        if not itself and any(character in pattern for character in WILDCARDS):
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
        path: Of a file with a path on each line; "-" for `stdin`.
        stdin: A binary file.

    Returns:
        The paths; empty lines are none.
    """
    content = stdin.read() if path == "-" else read(path)
    return [os.fsdecode(line) for line in content.split(b"\n") if line.strip()]


def describe_model(folder):
    """Reads what a batch must know of a SavedModel before it is loaded.

    Returns:
        The `Config`, the names of the labels, and a digest of all its files.

    Raises:
        FileNotFoundError: The folder is no version folder of a SavedModel.
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
    """Loads a SavedModel from any of Beam's file systems.

    Returns:
        A `ram_tf.serving.predictor.Predictor`.
    """
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
    """Lists the files below a folder: names within it, and paths."""
    within = FileSystems.join(folder, "")
    with _listing(folder):
        # Each storage has it; all that is public takes a folder's name for a pattern.
        found = [*FileSystems.get_filesystem(within)._list(within)]
    return sorted(
        (meta.path[len(within) :].replace("\\", "/"), meta.path) for meta in found
    )


def _match(pattern):
    with _listing(pattern):
        return FileSystems.match([pattern])[0].metadata_list


@contextlib.contextmanager
def _listing(place):
    try:
        yield
    except BeamIOError as error:
        # Its own text ends in a dict of exceptions.
        reason = next(iter((error.exception_details or {0: error}).values()))
        raise OSError(f"{place} cannot be listed. Received: {reason}") from error


def _delete(paths):
    for path in paths:
        # Beam takes a local one for a pattern.
        if FileSystems.get_scheme(path) is None:
            os.remove(path)
        else:
            FileSystems.delete([path])


def open_file(path):
    """Opens a file for reading as it is: what its name ends in unpacks nothing."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read(path):
    """The bytes of a file."""
    with open_file(path) as file:
        return file.read()
