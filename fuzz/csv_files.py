"""Fuzzes the reader of folders with csv files, `ram_tf.data.csv_reader.csv_folder`."""

from fuzz import splits
from fuzz.mutations import files, one_spoilt, spoilt, spoilt_json
from fuzz.target import Target
from ram_tf.data.csv_reader import csv_folder

BOXES = {"1": [{"label": "cat", "box": [0.1, 0.2, 0.5, 0.6]}], "photos/2.jpg": []}
LISTS = b'image,labels\nphotos/1.jpg,cat;?dog\n"photos/2.jpg",dog\n3.jpg,\n'
COLUMNS = b"dog,image,cat\n1,photos/1.jpg,0\n,photos/2.jpg,-1\n"
LABELS = b"\xef\xbb\xbfcat\ndog\n\n"
VALID = {
    "train.csv": LISTS,
    "val.csv": COLUMNS.replace(b"photos", b"others"),
    "labels.txt": LABELS,
    "boxes.json": b"{}",
}


def target(folder):
    """Returns the reader's target, on files in this folder."""

    def read(folder):
        splits.check(csv_folder.load(folder, "train"), folder)

    strategies = {
        "train.csv": spoilt(LISTS, COLUMNS),
        "labels.txt": spoilt(LABELS, b""),
        "boxes.json": spoilt_json(BOXES),
    }
    # A list with a label that is not in the csv files.
    other_labels = {**VALID, "labels.txt": b"cat\ndog\nx\n"}
    inputs = one_spoilt(VALID, strategies) | one_spoilt(other_labels, strategies)
    return Target(inputs, files(folder, read), VALID)
