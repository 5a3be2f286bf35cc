"""Fuzzes the readers of a SavedModel's `views.json` and `config.json`."""

import json

from fuzz.mutations import files, one_spoilt, spoilt_json
from fuzz.run_files import CONFIG, LABELS, OLD_CONFIG, check
from fuzz.target import Target
from ram_tf.serving.predictor import Predictor

ABOUT = {"views": 1, "scales": [40], "crops": [32], "thresholds": [0.5] * len(LABELS)}
VALID = {
    "assets.extra/views.json": json.dumps(ABOUT).encode(),
    "assets.extra/config.json": json.dumps(CONFIG).encode(),
}


def target(folder):
    """Returns the target, on files in this folder; a server has the model."""
    (folder / "saved_model.pb").write_bytes(b"")

    def read(folder):
        predictor = Predictor.load(folder, client=lambda encoded: {})
        check(predictor.config, predictor.label_names)
        assert predictor.thresholds.shape == (len(predictor.label_names),)
        assert ((predictor.thresholds >= 0) & (predictor.thresholds <= 1)).all()

    strategies = {
        "assets.extra/views.json": spoilt_json(ABOUT),
        "assets.extra/config.json": spoilt_json(CONFIG) | spoilt_json(OLD_CONFIG),
    }
    return Target(one_spoilt(VALID, strategies), files(folder, read), VALID)
