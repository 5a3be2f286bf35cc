"""A batch: a long list of images, its division into shards, and its output folder."""

import collections
import dataclasses
import hashlib
import json
from typing import NamedTuple

import ram_tf
from ram_tf.runs.config_json import from_exported_json
from ram_tf.serving.batch.records import FORMATS
from ram_tf.serving.image_search import parse_list
from ram_tf.storage import remote_files as files

MANIFEST, LIST = "manifest.json", "images.jsonl"


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
        shards: All `Shard`s.
    """

    folder: str
    file_format: str
    label_names: tuple[str, ...]
    shards: tuple[Shard, ...]

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
        _, label_names, digest = describe_model(model_dir)
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
            shards=tuple(_divide(lines, shard_size)),
        )
        batch._create_or_check(manifest, lines)
        return batch

    def _create_or_check(self, manifest, lines):
        files.make_folder(self.folder)
        self.remove_incomplete()
        if not files.exists(self._path(MANIFEST)):
            if self._list_files("part-"):
                raise ValueError(
                    "The folder holds records of unknown origin. Expected an empty "
                    f"folder or one with {MANIFEST}. Received: {self.folder}"
                )
            self._write(LIST, b"".join(lines))
            self._write(MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
            return
        stored = json.loads(files.read(self._path(MANIFEST)))
        other = [name for name in manifest if stored.get(name) != manifest[name]]
        if other:
            raise ValueError(
                f"The folder holds another batch. Expected the same {', '.join(other)} "
                "as when it was created, or another --output_dir. Received: "
                f"{self.folder}"
            )

    def remove_incomplete(self):
        """Removes the files that processes which were killed have not completed."""
        for path in self._list_files("partial-"):
            files.delete(path)

    def unfinished(self):
        """Lists the shards that are not finished."""
        found = {path.rpartition("part-")[2] for path in self._list_files("part-")}
        return [s for s in self.shards if self._file_name("part", s)[5:] not in found]

    def is_finished(self, shard):
        """Returns whether a shard is finished."""
        return files.exists(self._path(self._file_name("part", shard)))

    def paths(self, shard):
        """Yields the paths of a shard's images, in order."""
        with files.open_file(self._path(LIST)) as file:
            file.seek(shard.start)
            for _ in range(shard.count):
                yield json.loads(file.readline())

    def finish(self, shard, answers):
        """Writes the two files of a shard, each with an atomic write.

        Args:
            shard: The `Shard`.
            answers: Dicts of `answers.answer`, one for each image, in order.
        """
        records = [each for each in answers if "reason" not in each]
        unread = [each for each in answers if "reason" in each]
        lines = "".join(json.dumps(each) + "\n" for each in unread)
        self._write(self._file_name("unread", shard), lines.encode())
        # Last, since this file marks the shard as finished.
        encoded = FORMATS[self.file_format](records, self.label_names)
        self._write(self._file_name("part", shard), encoded)

    def unread(self, shards):
        """Counts the images without records in finished shards, by reason."""
        names = (self._file_name("unread", shard) for shard in shards)
        found = (files.read(self._path(name)).splitlines() for name in names)
        return collections.Counter(
            json.loads(row)["reason"] for rows in found for row in rows
        )

    def _file_name(self, kind, shard):
        ending = self.file_format if kind == "part" else "jsonl"
        return f"{kind}-{shard.number:05}-of-{len(self.shards):05}.{ending}"

    def _path(self, name):
        return files.join(self.folder, name)

    def _list_files(self, start):
        found = files.list_files(self.folder)
        within = [each for each in found if "/" not in each[0]]
        return [path for name, path in within if name.startswith(start)]

    def _write(self, name, content):
        files.write(self._path(name), content)


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
        is_file = "[" in pattern and files.exists(pattern)
        if not is_file and files.WILDCARDS.search(pattern):
            found = files.match(pattern)
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
    content = stdin.read() if path == "-" else files.read(path)
    return parse_list(content)


def describe_model(folder):
    """Reads the settings and labels of a SavedModel, without loading it.

    Returns:
        The `Config`, the label names, and a checksum of all its files.

    Raises:
        FileNotFoundError: The folder is not a version folder of a SavedModel.
    """
    config = files.join(folder, "assets.extra/config.json")
    if not files.exists(config):
        raise FileNotFoundError(
            "There is no model. Expected a version folder of a SavedModel, with "
            f"assets.extra/config.json. Received: {folder}"
        )
    digest = hashlib.sha256()
    for name, path in files.list_files(folder):
        content = hashlib.sha256(files.read(path)).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    settings, label_names = from_exported_json(files.read(config).decode())
    return settings, list(label_names), digest.hexdigest()
