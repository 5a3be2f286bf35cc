"""Measures how training begins on a million images, from shards and from files.

    python -m benchmarks.million --work /tmp/million --images VOCdevkit
    python -m benchmarks.million --work /tmp/million --kinds csv --rows 20000

Names and labels are made up, and the images repeat the given ones, of which nine tenths
are for training. Each shard is a link to one TFRecord file, with an index of as many
images as a real shard has; each folder of the csv data set is a link to one folder of
files. A process for each kind then does what `fit` does before it trains: it reads the
splits, compares them and records their names, and then it reads an epoch's first
batches. It prints the seconds of each stage, those of the CPU in all threads, and the
peak memory.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import photographs
from fuzz.target import peak_memory
from ram_tf.cli import command

SHARES = {"train": 0.9, "val": 0.05, "test": 0.05}
LABELS = tuple(f"label{i:02}" for i in range(80))
POSITIVES = 3
KINDS = ("shards", "csv")
MIB = 1 << 20
SHARD_BYTES = 128 * MIB


def divide(paths):
    """Divides files among the splits, so that no two splits share a picture."""
    ends = np.round(np.cumsum([*SHARES.values()]) * len(paths)).astype(int)
    parts = np.split(np.array(paths, object), ends[:-1])
    return {name: part.tolist() for name, part in zip(SHARES, parts, strict=True)}


def made_up_labels(count, seed):
    """Returns `(count, 80)` int8 with three positives a row."""
    labels = np.zeros((count, len(LABELS)), np.int8)
    columns = np.random.default_rng(seed).integers(len(LABELS), size=(count, POSITIVES))
    labels[np.arange(count)[:, None], columns] = 1
    return labels


def write_csv(folder, stored, rows):
    """Writes a csv data set whose folders of images are links to stored ones.

    Args:
        folder: The folder, which is made.
        stored: The folder with a folder of images for each split.
        rows: The number of rows in all.
    """
    for seed, (split, share) in enumerate(SHARES.items()):
        files = sorted(path.name for path in (stored / split).iterdir())
        count = round(share * rows)
        labels = made_up_labels(count, seed)
        (folder / split).mkdir(parents=True)
        with open(folder / f"{split}.csv", "w", encoding="utf-8") as file:
            file.write("image,labels\n")
            for i, row in enumerate(labels):
                turn, place = divmod(i, len(files))
                if not place:
                    os.symlink(stored.absolute() / split, folder / split / f"{turn:06}")
                named = ";".join(LABELS[j] for j in np.flatnonzero(row))
                file.write(f"{split}/{turn:06}/{files[place]},{named}\n")


def write_shards(folder, stored, rows):
    """Writes a folder of shards, each a link to that of the stored images of a split.

    Args:
        folder: The folder, which is made.
        stored: See `write_csv`.
        rows: The number of rows in all.
    """
    from ram_tf.data.shards.shard_folder import ENDING, Manifest
    from ram_tf.data.shards.shard_index import ShardIndex
    from ram_tf.runs.config import Config
    from ram_tf.runs.splits import sharding

    count = sum(1 for _ in stored.glob("*/*"))
    with tempfile.TemporaryDirectory(dir=folder.parent) as once:
        source = pathlib.Path(once) / "csv"
        write_csv(source, stored, count)
        settings = Config.of(dataset="csv", data_dir=str(source))
        manifest = sharding.write(settings, folder, 1 << 40)
    for seed, (split, share) in enumerate(SHARES.items()):
        one = ShardIndex.read(folder / f"{split}-00000.npz")
        labels = made_up_labels(round(share * rows), seed)
        shards, size = [], round(SHARD_BYTES / one.lengths.mean())
        for start in range(0, len(labels), size):
            own = labels[start : start + size]
            turns = np.arange(start, start + len(own)) % len(one)
            shard = f"{split}-{len(shards):05}"
            if shards:
                os.link(folder / f"{split}-00000{ENDING}", folder / f"{shard}{ENDING}")
            arrays = "starts lengths digests greys".split()
            dataclasses.replace(
                one,
                **{name: getattr(one, name)[turns] for name in arrays},
                names=[f"{split}/{start + i:07}.jpg" for i in range(len(own))],
                labels=own,
                others=np.zeros(len(own), np.int8),
            ).write(folder / f"{shard}.npz")
            shards.append({"name": shard, "bytes": one.size, "images": len(own)})
        manifest.splits[split].shards[:] = shards
        manifest.splits[split].label_names[:] = LABELS
    Manifest.write(manifest, folder)


def measure(arguments):
    """Does what `fit` does before and while it trains; prints each stage as JSON."""
    begin = time.perf_counter(), time.process_time()

    def report(stage, **more):
        nonlocal begin
        now = time.perf_counter(), time.process_time()
        seconds, cpu = (end - start for start, end in zip(begin, now, strict=True))
        line = {
            "stage": stage,
            "seconds": seconds,
            "cpu": cpu,
            "MiB": peak_memory(),
            **more,
        }
        print(json.dumps(line), flush=True)
        begin = time.perf_counter(), time.process_time()

    from ram_tf.runs.config import Config
    from ram_tf.runs.presets import preset
    from ram_tf.runs.splits import dataset_check, run_splits
    from ram_tf.runs.splits.leakage import TrainingImages
    from ram_tf.training.batches import TrainingBatches

    changes = {"dataset": arguments.measure, "backbone": "mobilenet_v2"}
    folder = arguments.work / arguments.measure
    settings = Config.of(**{**preset("photographs"), **changes}, data_dir=str(folder))
    report("imports")
    splits = run_splits.load(settings)
    report("reading the splits", images=sum(map(len, splits)))
    dataset_check.describe(settings, splits)
    report("counts and duplicates")
    with tempfile.TemporaryDirectory() as folder:
        images = TrainingImages(pathlib.Path(folder) / "images.json")
        images.record(splits.train, splits.selection)
    report("recording the images")
    size = settings.training.batch_size
    batches = TrainingBatches(splits.train, settings.training.seed, size)
    epochs = range(settings.training.pooled_epochs)
    iterator = iter(batches.pipeline(settings, epochs))
    next(iterator)
    report("first batch")
    for _ in range(arguments.batches - 1):
        next(iterator)
    report(f"batches 2 to {arguments.batches}")


def measured(arguments, kind, argv):
    """Runs `measure` in a process of its own, and prints a table of its stages."""
    started = [sys.executable, "-m", "benchmarks.million", *argv, "--measure", kind]
    done = subprocess.run(started, stdout=subprocess.PIPE, text=True, check=True)
    stages = [json.loads(line) for line in done.stdout.splitlines()]
    total = stages[1]["images"]
    print(f"{kind}: {total} images, {len(LABELS)} labels")
    print(f"  {'':<24}{'seconds':>9}{'of CPU':>9}{'MiB':>7}")
    before = {
        "stage": "until the first batch",
        "MiB": stages[-2]["MiB"],
        **{n: sum(stage[n] for stage in stages[:-1]) for n in ("seconds", "cpu")},
    }
    for stage in [*stages, before]:
        numbers = f"{stage['seconds']:>9.1f}{stage['cpu']:>9.1f}{stage['MiB']:>7.0f}"
        print(f"  {stage['stage']:<24}{numbers}")


def store(arguments, folder):
    """Copies the images into a folder for each split."""
    from ram_tf.serving.image_search import find_images

    paths = find_images(arguments.images) if arguments.images else None
    paths = paths or photographs.write(folder / "all", 64)
    for split, files in divide(paths[: arguments.stored]).items():
        (folder / split).mkdir(parents=True)
        for number, path in enumerate(files):
            shutil.copy(path, folder / split / f"{number:06}{path.suffix}")
    shutil.rmtree(folder / "all", ignore_errors=True)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.million",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--work", type=pathlib.Path, required=True, help="folder for the data sets"
    )
    parser.add_argument(
        "--images", nargs="+", help="files or folders; default: 64 photographs"
    )
    parser.add_argument(
        "--stored", type=int, default=1000, help="most different images; %(default)s"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="%(default)s")
    parser.add_argument("--batches", type=int, default=100, help="%(default)s")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS[:1])
    # Set for the processes that are measured.
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    if arguments.measure:
        measure(arguments)
        return 0
    stored = arguments.work / "stored"
    if not stored.exists():
        store(arguments, stored)
    writers = {"shards": write_shards, "csv": write_csv}
    for kind in arguments.kinds:
        shutil.rmtree(arguments.work / kind, ignore_errors=True)
        writers[kind](arguments.work / kind, stored, arguments.rows)
        measured(arguments, kind, argv)
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
