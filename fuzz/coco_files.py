"""Fuzzes the reader of COCO's instances, `ram_tf.data.readers.coco`."""

import json

from fuzz import pictures, splits
from fuzz.mutations import files, one_spoilt, spoilt, spoilt_json
from fuzz.target import Target
from ram_tf.data.readers import coco

PLACE = "annotations/instances_train2017.json"
IMAGE = "train2017/1.jpg"
PHOTOGRAPH = pictures.encoded("JPEG", size=(50, 40), exif=pictures.rotated_exif())
CONTENT = {
    "images": [
        {"id": 1, "file_name": "1.jpg", "width": 50, "height": 40},
        {"id": 2, "file_name": "2.jpg", "width": 60, "height": 30},
    ],
    "categories": [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
        {"id": 3, "name": "dog", "supercategory": "animals"},
    ],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4]},
        {"id": 8, "image_id": 2, "category_id": 3, "bbox": [0, 0, 60, 30]},
    ],
}


def target(folder):
    """Returns the reader's target, on files in this folder."""
    (folder / "train2017").mkdir(parents=True, exist_ok=True)

    def read(folder):
        for negatives in coco.NEGATIVES:
            splits.check(coco.load(folder, "train", negatives=negatives), folder)

    valid = {PLACE: json.dumps(CONTENT).encode(), IMAGE: PHOTOGRAPH}
    annotations, image = spoilt_json(CONTENT), spoilt(PHOTOGRAPH)
    inputs = one_spoilt(valid, {PLACE: annotations, IMAGE: image})
    return Target(inputs, files(folder, read), valid)
