"""Tests of the learning curves: what they read, what is drawn, and a resumed run's."""

import io

import numpy as np
import pytest
from PIL import Image

from ram_tf.runs import learning_curves
from ram_tf.runs.run import Run
from ram_tf.training import checkpoints
from tests.support.small_runs import small_config, train_run
from tests.support.tiny_settings import NAMES, TINY, change

HISTORY = "epoch,loss,val_loss,val_mAP\n0,,0.5,0.6\n1,0.6,0.4,0.7\n2,0.5,0.3,0.65\n"


def run_with(folder, settings=TINY, **histories):
    """A run with the given text as the history of each step."""
    run = Run.start(folder, settings, NAMES)
    for step, text in histories.items():
        (folder / step).mkdir()
        (folder / step / "history.csv").write_text(text)
    return run


def size_of(png):
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


@pytest.mark.parametrize(("by", "chosen"), [("mAP", 1), ("loss", 2)])
def test_the_chosen_epoch_is_the_best_one_by_the_metric_of_the_run(
    tmp_path, by, chosen
):
    (curve,) = learning_curves.read(
        run_with(tmp_path, change(select_by=by), step1=HISTORY)
    )
    assert (curve.epochs, curve.chosen) == ([0, 1, 2], chosen)
    assert np.isnan(curve.loss[0])
    assert curve.val_map == [0.6, 0.7, 0.65]


def test_of_equal_epochs_the_first_is_chosen_and_nan_never(tmp_path):
    text = "epoch,loss,val_loss,val_mAP\n1,1,1,nan\n2,1,1,0.5\n3,1,1,0.5\n"
    run = run_with(tmp_path, change(select_by="mAP"), step1=text)
    assert learning_curves.read(run)[0].chosen == 1
    (tmp_path / "step1" / "history.csv").write_text(text[: text.index("2,")])
    assert learning_curves.read(run)[0].chosen is None
    learning_curves.draw(learning_curves.read(run))


def test_each_step_has_a_column_of_the_picture(tmp_path):
    run = run_with(tmp_path, step1=HISTORY, step2=HISTORY)
    both = learning_curves.read(run)
    assert [curve.name for curve in both] == ["step1", "step2"]
    width, height = size_of(learning_curves.draw(both))
    assert size_of(learning_curves.draw(both[:1])) == (width // 2, height)
    assert learning_curves.draw(both) == learning_curves.draw_run(tmp_path)


def test_the_level_of_step_1_is_that_of_the_better_pooling(tmp_path, monkeypatch):
    better = HISTORY.replace("0.7", "0.8")
    steps = {"step1-average": better, "step1-max": HISTORY, "step2": HISTORY}
    run = run_with(tmp_path, change(select_by="mAP", pooling="best"), **steps)
    levels = []
    draw_line = learning_curves.Figure().subplots().axhline.__func__

    def recorded(axes, y, **options):
        levels.append(y)
        return draw_line(axes, y, **options)

    monkeypatch.setattr("matplotlib.axes.Axes.axhline", recorded)
    learning_curves.draw(learning_curves.read(run))
    assert levels == [80.0]


def test_a_folder_without_history_has_no_curves(tmp_path):
    run_with(tmp_path / "run")
    assert learning_curves.draw_run(tmp_path / "run") is None
    assert learning_curves.draw_run(tmp_path) is None
    learning_curves.write(Run.open(tmp_path / "run"))
    assert not (tmp_path / "run" / "curves.png").exists()


@pytest.mark.parametrize(
    "text", ["epoch,loss\none,1\n", "loss\n1\n", "epoch,loss\n,1\n"]
)
def test_a_history_that_is_no_table_does_not_stop_training(tmp_path, capsys, text):
    run = run_with(tmp_path, step1=HISTORY, step2=text)
    learning_curves.write(run)
    assert "not written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("*.png")] == []
    with pytest.raises(ValueError, match=r"cannot be read\. Expected a csv"):
        learning_curves.read(run)


def points(run):
    return [
        (curve.name, curve.epochs, curve.chosen) for curve in learning_curves.read(run)
    ]


@pytest.mark.slow
def test_a_resumed_run_has_the_curves_of_an_undisturbed_one(
    squares, tmp_path, monkeypatch
):
    # Step 2 begins with the weights of step 1, which is its epoch 0.
    settings = small_config(
        squares, head_start="pooled", pooling="max", region_pooling="max"
    )
    run, *_ = train_run(tmp_path / "undisturbed", settings)
    (first, second) = points(run)
    assert first[:2] == ("step1", [1, 2])
    assert second[:2] == ("step2", [0, 1, 2])
    write = checkpoints.ValidateAndCheckpoint._write_history

    def killed(validation):
        if (validation.checkpoint.parent.name, validation.epoch) == ("step2", 2):
            raise KeyboardInterrupt
        write(validation)

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.ValidateAndCheckpoint, "_write_history", killed)
        with pytest.raises(KeyboardInterrupt):
            train_run(folder, settings)
    # The checkpoint has step 2's last epoch, its history has not.
    assert [epochs for _, epochs, _ in points(Run.open(folder))] == [[1, 2], [0, 1]]
    train_run(folder, settings, resume=True)
    for name in ("step1/history.csv", "step2/history.csv", "curves.png"):
        expected = (tmp_path / "undisturbed" / name).read_bytes()
        assert (folder / name).read_bytes() == expected, name
