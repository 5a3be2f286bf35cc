"""Fuzzes the readers of a run's JSON files, and of the file of `--config`."""

import json

from hypothesis import strategies as st

from fuzz.mutations import ODD, files, one_spoilt, spoilt_json
from fuzz.target import Target
from ram_tf.metrics.calibration import Calibration
from ram_tf.runs.config import FIELDS, RETIRED, Config
from ram_tf.runs.config_json import read_settings
from ram_tf.runs.run import Run

LABELS = ("cat", "dog", "fox")
SETTINGS = Config()
CONFIG = json.loads(SETTINGS.to_json(LABELS))
# A served model may come from a version with other settings and without a format.
OLD_CONFIG = {name: value for name, value in CONFIG.items() if name != "format"}
OLD_CONFIG |= dict.fromkeys(RETIRED, 0)
SOME = {"dataset": "csv", "epochs": 3, "training": {"seed": 1}}
CALIBRATION = json.loads(Calibration(1.5, (0.5, 0.25, 1.0)).to_json(LABELS))
VALID = {
    "config.json": json.dumps(CONFIG).encode(),
    "calibration.json": json.dumps(CALIBRATION).encode(),
    "settings.json": json.dumps(SOME).encode(),
}


def check(settings, label_names):
    """Asserts that the settings are usable."""
    assert all(isinstance(name, str) for name in label_names)
    assert "/" not in settings.saved_name
    for name, (_, field) in FIELDS.items():
        allowed = (int, float) if field.type is float else field.type
        assert isinstance(settings[name], allowed), name
    assert settings.image.crop > 0
    assert settings.data.max_pixels > 0


def target(folder):
    """Returns the reader's target, on files in this folder."""

    def read(folder):
        run = Run.open(folder)
        run.config.check_units()
        check(run.config, run.label_names)
        assert run.config.objective
        assert len(run.calibration.thresholds) == len(run.label_names)
        settings, _ = read_settings(folder / "settings.json")
        check(Config.of(**settings), ())

    # `spoilt_json` rarely changes a setting, so another strategy changes one each time.
    one_setting = st.builds(
        lambda name, value: json.dumps({**CONFIG, name: value}).encode(),
        st.sampled_from([*CONFIG]),
        ODD,
    )
    strategies = {
        "config.json": one_setting | spoilt_json(CONFIG),
        "calibration.json": spoilt_json(CALIBRATION),
        "settings.json": spoilt_json(SOME) | spoilt_json(CONFIG),
    }
    return Target(one_spoilt(VALID, strategies), files(folder, read), VALID)
