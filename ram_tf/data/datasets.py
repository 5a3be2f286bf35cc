"""Data sets by name: which reader reads them, and which split serves for what."""

from typing import NamedTuple

from ram_tf.data.readers import coco, csv_folder, digits, tfds_folder, voc

NAMES = ("digits", "voc2007", "voc2012", "coco", "csv")
# The paper's COCO is that of 2014 (section 4.1).
COCO_YEAR = 2014


class Splits(NamedTuple):
    """The splits of a data set, by what they serve for.

    Args:
        train: To train on.
        selection: To select a model, thresholds and a temperature on. None where the
            caller is to hold a seeded tenth of `train` back for it.
        report: To be read once, at the end.
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
    """Reads one split of a data set.

    Args:
        name: One of `NAMES`.
        data_dir: The data set's folder. Without it `voc*` and `coco` come through
            tensorflow-datasets, whose folder is the environment's `TFDS_DATA_DIR`.
            "digits" has none, "csv" cannot do without.
        split: The split; `default_splits` says which there are.
        difficult: VOC's policy, see `voc.load`.
        seed: Of the digits, and of the division of a single csv.
        year: Of COCO; None for the one that `data_dir` holds, or else 2014.
        manual_dir: A folder with archives for tensorflow-datasets.
        split_fraction: The shares of train, val and test of a single csv.

    Returns:
        A `Split`.

    Raises:
        FileNotFoundError: A folder, split or file is missing.
        ValueError: The name or another argument is unknown, or a file does not say what
            it should.
    """
    _check_name(name)
    if name == "digits":
        if data_dir is not None:
            raise ValueError(
                "The digits are embedded. Expected no data_dir, or another data set: "
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
    """Returns the splits that serve for training, selection and the report.

    Digits have all three. VOC 2007 trains on `trainval` and reports on `test`; VOC
    2012, whose test split is unlabelled, and COCO train on `train` and report on `val`.
    A csv folder with `test.csv`, or with a single csv, selects on `val` and reports on
    `test`; without it, `val` is what is reported.

    Args:
        name: One of `NAMES`.
        data_dir: The folder of "csv", whose files decide.

    Returns:
        A `Splits`.
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
            f"Unknown data set. Expected one of: {', '.join(NAMES)}. Received: {name!r}"
        )


def _check_csv_folder(data_dir):
    if data_dir is None:
        raise ValueError(
            f"The data set 'csv' needs a data_dir. Expected\n{csv_folder.TREE}\n"
            "Received: data_dir=None"
        )
