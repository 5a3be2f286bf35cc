"""Loads datasets by name, and defines the default use of their splits."""

from typing import NamedTuple

from ram_tf.data.csv_reader import csv_folder
from ram_tf.data.dataset_names import NAMES
from ram_tf.data.readers import coco, coco_layout, digits, tfds_folder
from ram_tf.data.shards import shard_folder
from ram_tf.data.voc_reader import voc

VOC_YEARS = {"voc2007": 2007, "voc2012": 2012}
# The paper's COCO is that of 2014 (section 4.1).
COCO_YEAR = 2014


class Splits(NamedTuple):
    """The names of a dataset's splits, by their use.

    Args:
        train: The split to train on.
        selection: The split to validate on: it selects the model, the thresholds and
            the temperature. None if the caller is to hold out a tenth of `train`.
        report: The split to evaluate on, once, at the end.
    """

    train: str
    selection: str | None
    report: str


def load(
    name,
    data_dir=None,
    split="train",
    *,
    difficult="unknown",
    seed=0,
    year=None,
    manual_dir=None,
    split_fraction=csv_folder.FRACTIONS,
    negatives="drop",
    division="stratified",
):
    """Reads one split of a dataset.

    Args:
        name: One of `NAMES`.
        data_dir: The dataset's folder. Without it, "voc*" and "coco" are read through
            tensorflow-datasets, from the folder of the environment's `TFDS_DATA_DIR`.
            "digits" takes none, "csv", "voc" and "shards" require one.
        split: The name of the split, as in `default_splits`.
        difficult: The policy for difficult objects of VOC, see `voc.load`.
        seed: The seed of the digits, and of the division of a single file.
        year: The year of COCO; None for the one found in `data_dir`, otherwise 2014.
        manual_dir: A folder of archives for tensorflow-datasets.
        split_fraction: The fractions of train, val and test of a single file, csv or
            COCO's, or of a VOC folder without splits.
        negatives: What becomes of images without annotations, see `coco.load` and
            `voc.load`.
        division: How a single csv file is divided: one of `dataset_names.DIVISIONS`.

    Returns:
        A `Split`.

    Raises:
        FileNotFoundError: A folder, split or file is missing.
        ValueError: An argument is unknown, or the content of a file is invalid.
    """
    _check_name(name)
    if name == "digits":
        if data_dir is not None:
            raise ValueError(
                "The digits are embedded. Expected no data_dir, or another dataset: "
                f"{', '.join(NAMES[1:])}. Received: data_dir={str(data_dir)!r}"
            )
        return digits.load(split, seed)
    if name == "csv":
        _check_csv_folder(data_dir)
        return csv_folder.load(data_dir, split, split_fraction, seed, division)
    if name == "shards":
        _check_shard_folder(data_dir)
        return shard_folder.load(data_dir, split)
    if name == "coco":
        if data_dir is not None:
            return coco.load(data_dir, split, year, negatives, split_fraction, seed)
        if negatives != "drop":
            raise ValueError(
                "tensorflow-datasets' files of COCO lack the images without "
                "annotations. Expected --negatives drop, or --data_dir. Received: "
                f"negatives={negatives!r}"
            )
        return tfds_folder.load(f"coco{year or COCO_YEAR}", split, None, manual_dir)
    if data_dir is not None or name == "voc":
        _check_voc_folder(data_dir)
        policies = difficult, negatives, split_fraction, seed
        return voc.load(data_dir, VOC_YEARS.get(name), split, *policies)
    return tfds_folder.load(name, split, None, manual_dir, difficult)


def default_splits(name, data_dir=None, division="stratified"):
    """Returns the `Splits` for training, validation and testing.

    The digits have all three. VOC 2007 is trained on `trainval` and tested on `test`;
    VOC 2012, whose test split is unlabelled, and COCO are trained on `train` and tested
    on `val`. A csv folder with `test.csv`, or with a single csv file, is validated on
    `val` and tested on `test`; without `test.csv` it is tested on `val`. The same holds
    for a folder of COCO without years, and for one in VOC's layout with other classes.
    Shards have the splits of the dataset that they were made of.

    Args:
        name: One of `NAMES`.
        data_dir: The dataset's folder, on whose files its splits depend.
        division: See `load`.
    """
    _check_name(name)
    if name == "csv":
        _check_csv_folder(data_dir)
        return _by_files(csv_folder.split_names(data_dir, division))
    if name == "shards":
        _check_shard_folder(data_dir)
        return Splits(*shard_folder.uses(data_dir))
    if name == "coco" and data_dir is not None:
        return _by_files(coco_layout.split_names(data_dir))
    if name == "voc" or (name in VOC_YEARS and _has_own_classes(name, data_dir)):
        _check_voc_folder(data_dir)
        return _by_files(voc.split_names(data_dir, VOC_YEARS.get(name)))
    return {
        "digits": Splits("train", "val", "test"),
        "voc2007": Splits("trainval", None, "test"),
        "voc2012": Splits("train", None, "val"),
        "coco": Splits("train", None, "val"),
    }[name]


def label_names(name, data_dir, year=None):
    """Returns the names of a folder's labels, without its images.

    Args:
        name: "voc2007", "voc2012", "voc", "coco" or "shards".
        data_dir: The dataset's folder.
        year: The year of COCO; None for the one found in the folder.

    Raises:
        FileNotFoundError: The folder, or what is to be read of it, is missing.
        ValueError: The content of a file is invalid.
    """
    if name == "shards":
        return shard_folder.label_names(data_dir)
    if name == "coco":
        return coco.label_names(data_dir, year)
    return voc.label_names(data_dir, VOC_YEARS.get(name))


def _has_own_classes(name, data_dir):
    """Whether a folder of VOC is found, with other class files than VOC's."""
    try:
        return not (data_dir is None or voc.has_class_files(data_dir, VOC_YEARS[name]))
    except FileNotFoundError:
        return False  # reported when it is read


def _by_files(available):
    if "trainval" in available and "train" not in available:
        return Splits("trainval", None, "test" if "test" in available else "val")
    if "test" in available:
        return Splits("train", "val" if "val" in available else None, "test")
    return Splits("train", None, "val")


def _check_name(name):
    if name not in NAMES:
        raise ValueError(
            f"Unknown dataset. Expected one of: {', '.join(NAMES)}. Received: {name!r}"
        )


def _check_csv_folder(data_dir):
    if data_dir is None:
        raise ValueError(
            f"The dataset 'csv' needs a data_dir. Expected\n{csv_folder.TREE}\n"
            "Received: data_dir=None"
        )


def _check_voc_folder(data_dir):
    if data_dir is None:
        raise ValueError(
            "The dataset 'voc' needs a data_dir. Expected the folder of annotations, "
            "or voc2007 or voc2012. Received: data_dir=None"
        )


def _check_shard_folder(data_dir):
    if data_dir is None:
        raise ValueError(
            "The dataset 'shards' needs a data_dir. Expected the folder that `ram-tf "
            "shard` wrote. Received: data_dir=None"
        )
