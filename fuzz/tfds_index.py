"""Fuzzes the reader of the index of images, `ram_tf.data.readers.tfds_folder`."""

import json

from fuzz import splits
from fuzz.mutations import files, spoilt_json
from fuzz.target import Target
from ram_tf.data.readers import tfds_folder
from ram_tf.data.voc_reader import voc

PLACE = "ram_tf/voc2007/train/index.json"
CONTENT = {
    "label_names": list(voc.LABEL_NAMES),
    "dropped": 0,
    "images": [
        {"file": "1.jpg", "objects": [[1, False, [0.1, 0.2, 0.3, 0.4]]]},
        {"file": "2.jpg", "objects": [[7, True, [0, 0, 1, 1]], [7, False, [0] * 4]]},
    ],
}


def target(folder):
    """Returns the reader's target, on a file in this folder."""

    def read(folder):
        splits.check(tfds_folder.load("voc2007", "train", folder), folder)

    inputs = spoilt_json(CONTENT).map(lambda content: {PLACE: content})
    valid = {PLACE: json.dumps(CONTENT).encode()}
    return Target(inputs, files(folder, read), valid)
