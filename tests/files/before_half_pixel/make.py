"""Makes the files beside it, by commit ce2d65c, the last before half-pixel centres.

    git worktree add BEFORE ce2d65c
    PYTHONPATH=BEFORE:BEFORE/tests python tests/data/before_half_pixel/make.py

saved_model/ model.onnx model.tflite    a small model that was trained on squares with
                                        settings that are no more, in three formats
*.png *.jpg                             images
outputs.npz                             what the SavedModel said of them, in their order
linear.npz                              weights, map and outputs of the recurrent layer
"""

import dataclasses
import pathlib
import shutil
import tempfile

import keras
import numpy as np
from PIL import Image
from ram_tf.export import export
from ram_tf.predictor import Predictor
from ram_tf.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.run import Run
from small_run import SMALL
from squares import write_squares

from ram_tf import evaluation, litert_model, onnx_model, run_splits, training

HERE = pathlib.Path(__file__).parent
STARTS = [[1.0, 1.0, 0.0, 0.0], [0.5, 0.6, 0.4, -0.3], [0.3, -0.2, -0.6, 0.9]]


def settings():
    """Asked for late: other versions, whose tests import this file, lack some."""
    # Regions that move, scores that are told apart.
    return dataclasses.replace(
        SMALL,
        name="before",
        regions=3,
        starts="anchors",
        head_start="pooled",
        region_pooling="average",
        probe_cost=0.01,
        context=0.3,
        search_epochs=2,
        region_probe=True,
        spatial_prior=True,
        pooled_epochs=4,
        epochs=4,
        learning_rate=1e-2,
        batch_size=4,
        calibrate=True,
    )


def make_models(folder):
    config = settings()
    data = write_squares(folder)
    splits = run_splits.load(dataclasses.replace(config, data_dir=str(data)))
    run = Run.start(folder / "run", config, splits.train.label_names)
    _, model = training.train(run, splits.train, splits.selection)
    evaluation.calibrate(run, model, splits.selection)
    view = run.served_view(model)
    shutil.rmtree(HERE / "saved_model", ignore_errors=True)
    export(view, run, folder / "saved").rename(HERE / "saved_model")
    onnx_model.export(view, run, HERE / "model.onnx")
    litert_model.export(view, run, HERE / "model.tflite")


def make_images(folder):
    # One of the size that the model was trained on, one held on its side, one of noise.
    shutil.copy(folder / "val0.png", HERE / "a.png")
    rows = Image.open(folder / "val1.png").resize((60, 44), Image.Resampling.BICUBIC)
    turned = rows.getexif()
    turned[0x0112] = 6
    rows.save(HERE / "b.jpg", exif=turned)
    noise = np.random.default_rng(0).integers(0, 256, (32, 24, 3), "uint8")
    Image.fromarray(noise).save(HERE / "c.png")


def make_outputs():
    encoded = [path.read_bytes() for path in sorted(HERE.glob("[abc].*"))]
    outputs = Predictor.load(HERE / "saved_model")(encoded)
    assert outputs["valid"].all()
    for name in ("model.onnx", "model.tflite"):
        for key, values in Predictor.load(HERE / name)(encoded).items():
            np.testing.assert_allclose(values, outputs[key], atol=5e-5)
    np.savez(HERE / "outputs.npz", **outputs)


def make_linear():
    """Of each case the layer as a seed begins it, and with noise in every weight."""
    rng = np.random.default_rng(0)
    kept = {"features": rng.uniform(0, 1, (3, 5, 6, 7)).astype("float32")}
    for case, starts in (("paper", None), ("starts", STARTS)):
        keras.utils.set_random_seed(0)
        layer = RecurrentMemorizedAttention(
            *(4, 3, 16, (4, 4), "average"), starts=starts, name="attention"
        )
        layer.build((None, None, None, 7))
        for state in ("begun", "changed"):
            if state == "changed":
                for weight in layer.weights:
                    noise = rng.normal(0, 0.4, weight.shape)
                    weight.assign(weight + noise.astype("float32"))
            for weight in layer.weights:
                kept[f"{case}/{state}/weights/{weight.path}"] = weight.numpy()
            for name, values in layer(kept["features"]).items():
                kept[f"{case}/{state}/outputs/{name}"] = values.numpy()
    np.savez(HERE / "linear.npz", **kept)


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_models(pathlib.Path(folder))
        make_images(pathlib.Path(folder))
    make_outputs()
    make_linear()


if __name__ == "__main__":
    main()
