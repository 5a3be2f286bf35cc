"""Tests of the callbacks: TensorBoard, and a loss that is not finite."""

import io

import keras
import pytest
from PIL import Image

from ram_tf.data.drawing import colour
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import run_splits
from ram_tf.training import callbacks, checkpoints
from tests.support.full_disk import full_above
from tests.support.small_runs import last_epoch, small_config, train_run


@pytest.fixture(scope="module")
def rarl(squares, tmp_path_factory):
    """A finished run of RARL with two steps, and its model."""
    settings = small_config(squares, model="rarl", steps=2)
    run, _, model = train_run(tmp_path_factory.mktemp("rarl"), settings)
    return run, model


def test_history_of_rarl_has_the_metrics_of_its_agent(rarl):
    run, model = rarl
    row = last_epoch(run)
    terms = row["classification"] + row["reinforce"] + row["baseline"]
    assert row["loss"] == pytest.approx(terms)
    assert {"reward", "advantage", "baseline_error", "val_reward"} <= set(row)
    # The validation loss does not contain the reward, which is a metric.
    assert row["val_loss"] == row["val_classification"]
    assert model.attention.locations == "learnt"


def summaries(folder):
    """The first tensor of each tag that TensorBoard reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["tensors"]
    return {tag: events.Tensors(tag)[0].tensor_proto for tag in tags}


def test_tensorboard_shows_the_locations_of_each_step(rarl):
    run, _ = rarl
    shown = summaries(run.folder / "step2" / "logs" / "validation")
    assert "regions/0" in shown
    width, height, _ = shown["locations"].string_val
    # Two steps, 192 pixels each, with 4 between them.
    assert (int(width), int(height)) == (388, 192)


def test_tensorboard_shows_a_region_in_the_colour_of_its_step(rarl, tmp_path):
    run, model = rarl
    selection = run_splits.load(run.config).selection
    validation = checkpoints.ValidateAndCheckpoint(
        tmp_path, model, run.config, selection, None
    )
    validation.validate_start()
    # One region of the first step and two of the second predict the three labels.
    validation.outputs["probabilities"][:] = 1
    validation.outputs["region_scores"][:, [1, 10, 17], [0, 1, 2]] = 100
    images = callbacks.RegionImages(tmp_path, run, selection, validation)
    images.set_model(model)
    images.on_epoch_end(0)
    picture = summaries(tmp_path / "validation")["regions/0"].string_val[2]
    with Image.open(io.BytesIO(picture)) as opened:
        colours = {shade for _, shade in opened.convert("RGB").getcolors(2**24)}
    drawn = colours & {colour(number) for number in range(7)}
    assert drawn == {colour(0), colour(1)}


def test_tensorboard_shows_the_metrics_of_the_agent(rarl):
    run, _ = rarl
    shown = summaries(run.folder / "step2" / "logs" / "train")
    names = ("reward", "advantage", "baseline_error")
    assert {f"epoch_{name}" for name in names} <= set(shown)


def test_logs_that_cannot_be_written_are_named(squares, tmp_path, capsys):
    settings = small_config(squares)
    splits = run_splits.load(settings)
    run = Run.start(tmp_path, settings, splits.train.label_names)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "max"),
    )
    model.compile(keras.optimizers.Adam())
    validation = checkpoints.ValidateAndCheckpoint(
        tmp_path, model, settings, splits.selection, batches=None
    )
    validation.validate_start()
    images = callbacks.RegionImages(
        tmp_path / "logs", run, splits.selection, validation
    )
    images.set_model(model)
    images.on_epoch_end(0)
    assert "not written" not in capsys.readouterr().err
    (events,) = (tmp_path / "logs" / "validation").iterdir()
    with full_above(events.stat().st_size):
        images.on_epoch_end(1)
    expected = f"not written: {tmp_path / 'logs' / 'validation'} ("
    assert expected in capsys.readouterr().err


def test_the_error_for_a_loss_that_is_not_finite_names_step_and_images(
    squares, tmp_path
):
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+, images .*\.png"):
        train_run(tmp_path, small_config(squares, pooled_learning_rate=1e38))
