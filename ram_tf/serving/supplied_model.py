"""The model and the pictures that come with this package.

They lie in the folder `supplied`, also in a wheel. In a checkout of the source,
`saved_models/photographs` leads to the versions of the model.
"""

import importlib.resources
import pathlib

FOLDER = pathlib.Path(str(importlib.resources.files("ram_tf.serving") / "supplied"))
NAME = "photographs"


def newest():
    """Returns the version folder with the highest number.

    Raises:
        FileNotFoundError: This installation has no model.
    """
    found = (path.parent for path in FOLDER.glob(f"{NAME}/*/saved_model.pb"))
    versions = [folder for folder in found if folder.name.isdecimal()]
    if not versions:
        raise FileNotFoundError(
            "No model comes with this installation. Expected --model_dir with a run, a "
            "SavedModel or a .onnx or .tflite file, or an installation with a model. "
            f"Received: no model in {FOLDER / NAME}"
        )
    return max(versions, key=lambda folder: int(folder.name))


def pictures():
    """Returns the paths of the pictures, in the order of their names."""
    return sorted((FOLDER / "pictures").glob("*.jpg"))
