"""Fuzzes `serving_default` of an exported model, which decodes a server's images."""

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from fuzz import pictures
from fuzz.target import Target
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from ram_tf.serving.formats.export import export

SETTINGS = Config.of(
    dataset="csv",
    backbone="small",
    weights="none",
    image_size=32,
    crop_margin=0,
    regions=2,
    region_size=4,
    units=16,
    loss="bce",
    max_pixels=pictures.MAX_PIXELS,
)
BATCH = 20  # images per request


def target(folder):
    """Returns the target: the reloaded signature of a model with random weights."""
    run = Run.start(folder / "run", SETTINGS, ("cat", "dog"))
    view = run_models.served_view(
        run,
        run_models.build_attention(
            run,
            run_models.build_pooled(run, "average"),
        ),
    )
    loaded = tf.saved_model.load(str(export(view, run, folder / "saved")))
    serve = loaded.signatures["serving_default"]
    expected = serve(image_bytes=tf.constant([pictures.JPEG]))

    def read(images):
        # Other images of a request must not change the scores of a valid one.
        outputs = serve(image_bytes=tf.constant([*images, pictures.JPEG]))
        assert loaded
        valid = outputs["valid"].numpy()
        assert valid.shape == (len(images) + 1,)
        assert valid[-1]
        for name, values in outputs.items():
            values = values.numpy()
            assert np.isfinite(values).all()
            assert not values[~valid].any()
            np.testing.assert_allclose(values[-1], expected[name][0], atol=1e-5)

    inputs = st.lists(pictures.inputs(), min_size=BATCH, max_size=BATCH)
    return Target(inputs, read, [pictures.JPEG], at_once=BATCH)
