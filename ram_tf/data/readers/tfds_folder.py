"""Reads VOC and COCO through tensorflow-datasets (TFDS).

The encoded images are written to a folder once, with their labels and boxes in an
`index.json`, so that the pipelines read files as for other datasets.
"""

import contextlib
import errno
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ram_tf.data import progress
from ram_tf.data.readers import coco
from ram_tf.data.readers.boxes_json import as_boxes
from ram_tf.data.split import Split, check_label_names, path_inside
from ram_tf.data.voc_reader import voc
from ram_tf.storage import locks
from ram_tf.storage.atomic_files import atomic_write

# TFDS's name of each dataset, and the archives that it needs.
BUILDERS = {
    "voc2007": "voc/2007",
    "voc2012": "voc/2012",
    "coco2014": "coco/2014",
    "coco2017": "coco/2017",
}
ARCHIVES = {
    "voc2007": ("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar"),
    "voc2012": ("VOCtrainval_11-May-2012.tar", "VOC2012test.tar"),
    "coco2014": (
        "train2014.zip",
        "val2014.zip",
        "annotations_trainval2014.zip",
        # TFDS prepares all splits at once.
        "test2014.zip",
        "image_info_test2014.zip",
        "test2015.zip",
        "image_info_test2015.zip",
    ),
    "coco2017": (
        "train2017.zip",
        "val2017.zip",
        "annotations_trainval2017.zip",
        "test2017.zip",
        "image_info_test2017.zip",
    ),
}
# TFDS has no trainval.
PARTS = {
    "train": ("train",),
    "val": ("validation",),
    "trainval": ("train", "validation"),
    "test": ("test",),
}
UNLABELLED = {(name, "test") for name in BUILDERS if name != "voc2007"}


def load(name, split, data_dir=None, manual_dir=None, difficult="unknown"):
    """Reads one split; TFDS downloads and prepares the dataset first if needed.

    The images are written to `<data_dir>/ram_tf/<name>/<TFDS's split>/`, then the
    index; later calls only read these files. An interrupted call is continued.

    Args:
        name: "voc2007", "voc2012", "coco2014" or "coco2017".
        split: "train", "val", "trainval" or, for "voc2007", "test".
        data_dir: TFDS's data folder; None for the environment's `TFDS_DATA_DIR`, or
            else `~/tensorflow_datasets`.
        manual_dir: A folder of archives that were downloaded manually, for machines
            without a network.
        difficult: As in `voc.load`. The labels are derived from the objects, as TFDS's
            own `labels` take difficult objects as positive: a label is positive if any
            object of its class is not difficult.

    Returns:
        A `Split`; images of COCO without any label are dropped and counted.

    Raises:
        FileNotFoundError: The dataset is missing and cannot be downloaded.
        ValueError: The name, split or policy is unknown, or the split has no public
            labels.
    """
    if name not in BUILDERS or split not in PARTS or difficult not in voc.DIFFICULT:
        raise ValueError(
            "Unknown name, split or policy for difficult objects. Expected one of: "
            f"{', '.join(BUILDERS)}; {', '.join(PARTS)}; {', '.join(voc.DIFFICULT)}. "
            f"Received: name={name!r}, split={split!r}, difficult={difficult!r}"
        )
    if (name, split) in UNLABELLED:
        raise ValueError(
            f"The split {split!r} of {name} has no labels in public. Expected one of: "
            f"train, val, trainval. Received: split={split!r}"
        )
    data_dir = Path(data_dir).expanduser() if data_dir else default_data_dir()
    images, names, objects, dropped = [], [], [], 0
    for part in PARTS[split]:
        folder = data_dir / "ram_tf" / name / part
        if not (folder / "index.json").is_file():
            _write_part(name, part, folder, data_dir, manual_dir)
        index = _read_index(folder / "index.json")
        for file, found in index.objects.items():
            images.append(str(folder / file))
            names.append(f"{part}/{file}")
            objects.append(found)
        dropped += index.dropped
    if not images:
        raise ValueError(
            f"The split {split!r} of {name} has no images. Expected at least one with "
            f"a label. Received: {dropped} without"
        )
    label_names = index.label_names
    labels, only_difficult = _labels(objects, len(label_names), difficult)
    return Split(
        images=tuple(images),
        names=tuple(names),
        labels=labels,
        label_names=label_names,
        boxes=tuple(_boxes(found, label_names) for found in objects),
        notes=coco.dropped_notes(dropped, dropped + len(images))
        + voc.difficult_notes(only_difficult, difficult),
    )


class _Index(NamedTuple):
    """The content of an `index.json`.

    Args:
        label_names: The L labels.
        dropped: The number of images without labels.
        objects: From file name to the list of its `[label, is_difficult, box]`.
    """

    label_names: tuple[str, ...]
    dropped: int
    objects: dict[str, list]


def _read_index(path):
    try:
        content = json.loads(path.read_bytes())
        label_names = tuple(content["label_names"])
        check_label_names(label_names, path)
        objects = {}
        for entry in content["images"]:
            found = [
                [range(len(label_names))[label], bool(is_difficult), as_boxes([box])[0]]
                for label, is_difficult, box in entry["objects"]
            ]
            objects[path_inside(entry["file"], path)] = found
        return _Index(label_names, int(content["dropped"]), objects)
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as e:
        raise ValueError(
            f"{path} cannot be read. Expected the index that was written when the "
            "dataset was prepared; remove the file to have it written again. "
            f"Received: {type(e).__name__} {e}"
        ) from e


def default_data_dir():
    """Returns TFDS's data folder, without importing TFDS."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def _labels(objects, count, difficult):
    """Returns `(n, count)` labels, and the number with difficult objects only."""
    labels = np.zeros((len(objects), count), np.int8)
    only_difficult = 0
    for row, found in zip(labels, objects, strict=True):
        easy = {label for label, is_difficult, _ in found if not is_difficult}
        hard = {label for label, _, _ in found} - easy
        row[list(easy)] = 1
        row[list(hard)] = voc.DIFFICULT[difficult]
        only_difficult += len(hard)
    return labels, only_difficult


def _boxes(found, label_names):
    boxes = {}
    for label, _, box in found:
        boxes.setdefault(label_names[label], []).append(box)
    return {name: as_boxes(v) for name, v in boxes.items()}


def _write_part(name, part, folder, data_dir, manual_dir):
    """Writes the images and the index of one of TFDS's splits."""
    # Imported here, as it takes seconds that a finished folder does not need.
    import tensorflow_datasets as tfds

    builder = tfds.builder(BUILDERS[name], data_dir=data_dir)
    _prepare(builder, name, manual_dir)
    dataset = builder.as_dataset(
        split=part,
        decoders={"image": tfds.decode.SkipDecoding()},
        shuffle_files=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with _without_leftovers(folder):
        images, dropped = [], 0
        total = int(dataset.cardinality())
        for example in progress.bar(
            tfds.as_numpy(dataset),
            f"writing {name} {part}",
            total if total > 0 else None,
            "image",
            leave=True,
        ):
            found = _objects(example["objects"])
            if not found and name.startswith("coco"):
                dropped += 1
                continue
            file = Path(example["image/filename"].decode()).name
            if not (folder / file).is_file():
                _write_atomically(folder / file, example["image"])
            images.append({"file": file, "objects": found})
        # TFDS shuffles when it prepares; the order by name is always the same.
        images.sort(key=lambda entry: entry["file"])
        label_names = voc.LABEL_NAMES
        if name.startswith("coco"):
            feature = builder.info.features["objects"].feature["label"]
            label_names = [feature.int2str(i) for i in range(feature.num_classes)]
        index = {"label_names": label_names, "dropped": dropped, "images": images}
        # Last, as it marks the folder as complete.
        _write_atomically(folder / "index.json", json.dumps(index).encode())


def _objects(objects):
    """Returns TFDS's objects as a list of `[label, is_difficult, box]`."""
    count = len(objects["label"])
    difficult = objects.get("is_difficult", np.zeros(count, bool))
    return [
        [int(label), bool(is_difficult), [float(side) for side in box]]
        for label, is_difficult, box in zip(
            objects["label"], difficult, objects["bbox"], strict=True
        )
    ]


def _write_atomically(path, content):
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def _without_leftovers(folder):
    """Removes the temporary files of killed processes, unless another one is writing.

    All workers of a training start at once, and write the same files.
    """
    lock = folder / "lock"
    try:
        alone = locks.take(lock)
    except BlockingIOError:
        yield
        return
    try:
        for left in folder.glob("partial-*") if alone else ():
            left.unlink(missing_ok=True)
        yield
    finally:
        locks.release(lock)


def _prepare(builder, name, manual_dir):
    """Lets TFDS prepare the dataset; an error shows how else to provide it."""
    import tensorflow_datasets as tfds

    if builder.is_prepared():
        return
    _check_reachable(builder, name, manual_dir)
    tfds.display_progress_bar(sys.stderr.isatty())
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:
        # The advice does not help with a full disk or missing permissions.
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        raise _unavailable(name, manual_dir, error) from error


def _check_reachable(builder, name, manual_dir):
    """Checks that the host of the first missing archive can be reached.

    TFDS itself retries for minutes without a network.
    """
    folder = Path(manual_dir).expanduser() if manual_dir else None
    missing = [f for f in ARCHIVES[name] if not (folder and (folder / f).is_file())]
    if not missing:
        return
    urls = {info.filename: url for url, info in builder.url_infos.items()}
    request = urllib.request.Request(urls[missing[0]], method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError:
        # The host answers; TFDS reports if the archive is missing.
        return
    except OSError as error:
        raise _unavailable(name, manual_dir, error) from error


def _unavailable(name, manual_dir, error):
    year = name[-4:]
    if name.startswith("voc"):
        tree = (
            f"DATA_DIR/\n    VOC{year}/\n        JPEGImages/\n        ImageSets/Main/"
        )
    else:
        tree = (
            f"DATA_DIR/\n    annotations/instances_train{year}.json\n"
            f"    train{year}/*.jpg"
        )
    archives = "\n".join(f"    {archive}" for archive in ARCHIVES[name])
    return FileNotFoundError(
        f"tensorflow-datasets cannot get {name}: give the dataset as --data_dir, or "
        f"its archives as --manual_dir. Expected\n{tree}\nor\nMANUAL_DIR/\n{archives}\n"
        f"Received: manual_dir={manual_dir and str(manual_dir)!r}, and from the "
        f"download: {type(error).__name__}: {error}"
    )
