"""Fuzzes the reader of COCO's instances, `ram_tf.data.readers.coco`."""

import json

from fuzz import splits
from fuzz.mutations import files, spoilt_json
from fuzz.target import Target
from ram_tf.data.readers import coco

PLACE = "annotations/instances_train2017.json"
CONTENT = {
    "images": [
        {"id": 1, "file_name": "1.jpg", "width": 50, "height": 40},
        {"id": 2, "file_name": "2.jpg", "width": 60, "height": 30},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4]},
        {"id": 8, "image_id": 2, "category_id": 3, "bbox": [0, 0, 60, 30]},
    ],
}


def target(folder):
    """Returns the reader's target, on a file in this folder."""
    (folder / "train2017").mkdir(parents=True, exist_ok=True)

    def read(folder):
        splits.check(coco.load(folder, "train"), folder)

    inputs = spoilt_json(CONTENT).map(lambda content: {PLACE: content})
    valid = {PLACE: json.dumps(CONTENT).encode()}
    return Target(inputs, files(folder, read), valid)
