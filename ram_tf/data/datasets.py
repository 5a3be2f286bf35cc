"""Loads datasets by name, and defines the default use of their splits."""

from typing import NamedTuple

from ram_tf.data.readers import coco, csv_folder, digits, tfds_folder, voc

NAMES = ("digits", "voc2007", "voc2012", "coco", "csv")
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
):
    """Reads one split of a dataset.

    Args:
        name: One of `NAMES`.
        data_dir: The dataset's folder. Without it, "voc*" and "coco" are read through
            tensorflow-datasets, from the folder of the environment's `TFDS_DATA_DIR`.
            "digits" takes none, "csv" requires one.
        split: The name of the split, as in `default_splits`.
        difficult: The policy for difficult objects of VOC, see `voc.load`.
        seed: The seed of the digits, and of the division of a single csv file.
        year: The year of COCO; None for the one found in `data_dir`, otherwise 2014.
        manual_dir: A folder of archives for tensorflow-datasets.
        split_fraction: The fractions of train, val and test of a single csv file.

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
        return csv_folder.load(data_dir, split, split_fraction, seed)
    if name == "coco":
        if data_dir is not None:
            return coco.load(data_dir, split, year)
        return tfds_folder.load(f"coco{year or COCO_YEAR}", split, None, manual_dir)
    if data_dir is not None:
        return voc.load(data_dir, int(name[-4:]), split, difficult)
    return tfds_folder.load(name, split, None, manual_dir, difficult)


def default_splits(name, data_dir=None):
    """Returns the `Splits` for training, validation and testing.

    The digits have all three. VOC 2007 is trained on `trainval` and tested on `test`;
    VOC 2012, whose test split is unlabelled, and COCO are trained on `train` and tested
    on `val`. A csv folder with `test.csv`, or with a single csv file, is validated on
    `val` and tested on `test`; without `test.csv` it is tested on `val`.

    Args:
        name: One of `NAMES`.
        data_dir: The folder of "csv", whose splits depend on its files.
    """
    _check_name(name)
    if name == "csv":
        _check_csv_folder(data_dir)
        available = csv_folder.split_names(data_dir)
        if "test" in available:
            return Splits("train", "val" if "val" in available else None, "test")
        return Splits("train", None, "val")
    return {
        "digits": Splits("train", "val", "test"),
        "voc2007": Splits("trainval", None, "test"),
        "voc2012": Splits("train", None, "val"),
        "coco": Splits("train", None, "val"),
    }[name]


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
