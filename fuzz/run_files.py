"""What a run's folder says in text: `config.json` and `calibration.json`."""

import dataclasses
import json

from hypothesis import strategies as st

from fuzz.mutations import ODD, files, one_spoilt, spoilt_json
from fuzz.target import Target
from ram_tf.calibration import Calibration
from ram_tf.config import Config
from ram_tf.run import Run

LABELS = ("cat", "dog", "fox")
SETTINGS = Config()
CONFIG = json.loads(SETTINGS.to_json(LABELS))
CALIBRATION = json.loads(Calibration(1.5, (0.5, 0.25, 1.0)).to_json(LABELS))
VALID = {
    "config.json": json.dumps(CONFIG).encode(),
    "calibration.json": json.dumps(CALIBRATION).encode(),
}


def target(folder):
    """The reader, on files in this folder."""

    def read(folder):
        run = Run.open(folder)
        run.config.check_units(len(run.label_names))
        assert all(isinstance(name, str) for name in run.label_names)
        assert "/" not in run.config.saved_name
        for field in dataclasses.fields(Config):
            allowed = (int, float) if field.type is float else field.type
            assert isinstance(getattr(run.config, field.name), allowed), field.name
        assert run.config.objective
        assert run.config.crop > 0
        assert len(run.calibration.thresholds) == len(run.label_names)

    # One odd value among the right ones, as the strategy below hits a setting seldom.
    one_setting = st.builds(
        lambda name, value: json.dumps({**CONFIG, name: value}).encode(),
        st.sampled_from([*CONFIG]),
        ODD,
    )
    strategies = {
        "config.json": one_setting | spoilt_json(CONFIG),
        "calibration.json": spoilt_json(CALIBRATION),
    }
    return Target(one_spoilt(VALID, strategies), files(folder, read), VALID)
