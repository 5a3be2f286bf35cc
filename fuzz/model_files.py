"""Fuzzes the readers of texts in LiteRT and ONNX files, and of LiteRT's archive."""

import io
import json
import zipfile

from hypothesis import strategies as st

from fuzz.mutations import files, spoilt, spoilt_json
from fuzz.run_files import CONFIG, LABELS, OLD_CONFIG, check
from fuzz.target import Target
from fuzz.views_file import ABOUT
from ram_tf.serving.formats.litert_model import read_texts
from ram_tf.serving.predictor import read_metadata

LABELS_TEXT = "".join(f"{name}\n" for name in LABELS).encode()


def target(folder):
    """Returns the readers' target, on a file in this folder without a model."""

    def read(folder):
        path = folder / "a.tflite"
        settings, label_names, about = read_metadata(path, read_texts(path))
        check(settings, label_names)
        thresholds = about.get("thresholds", [0.5] * len(label_names))
        assert len(thresholds) == len(label_names)
        assert all(0 <= threshold <= 1 for threshold in thresholds)
        assert about["scales"][0] > 0

    valid = _archive()
    configs = spoilt_json(CONFIG) | spoilt_json(OLD_CONFIG) | st.just(None)
    changed = st.builds(_archive, configs, spoilt_json(ABOUT))
    bombs = st.just(_archive(views=b" " * (100 << 20), how=zipfile.ZIP_DEFLATED))
    inputs = st.one_of(changed, changed, spoilt(valid), bombs)
    return Target(
        inputs.map(lambda content: {"a.tflite": content}),
        files(folder, read),
        {"a.tflite": valid},
    )


def _archive(config=None, views=None, how=zipfile.ZIP_STORED):
    file = io.BytesIO(b"a model")
    with zipfile.ZipFile(file, "a", how) as members:
        members.writestr("labels.txt", LABELS_TEXT)
        members.writestr("config.json", config or json.dumps(CONFIG))
        members.writestr("views.json", views or json.dumps(ABOUT))
    return file.getvalue()
