"""The learning curves of a run: its losses and validation mAP, and their picture.

Training writes the metrics of each epoch to `history.csv` in the folder of the step;
epoch 0 is the start, if a step begins with better than random weights. All curves are
drawn here, from these files, for the run's folder and for the report.
"""

import csv
import io
import math
import pathlib
import sys
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ram_tf.runs.run import Run
from ram_tf.storage.atomic_files import atomic_write

HISTORY = "history.csv"
# Folder of a step -> its title; with pooling "best" step 1 is trained twice.
TITLES = {
    "step1": "Step 1: pooled classifier",
    "step1-average": "Step 1: average pooling",
    "step1-max": "Step 1: max pooling",
    "step2": "Step 2: attention model",
}
# Okabe and Ito's colours for colour-blind people, and the grey of the report.
ORANGE, BLUE, RED, GREY = "#e69f00", "#0072b2", "#d55e00", "#57606a"
DOTTED = 40  # epochs up to which each has a dot
WIDTH, HEIGHT, DPI = 4.8, 5.6, 120  # of a step in inches, and pixels per inch


class StepCurve(NamedTuple):
    """The metrics of a step by epoch; NaN where one is missing.

    Args:
        name: The folder of the step, a key of `TITLES`.
        epochs: The numbers of the epochs; 0 is the start.
        loss: The loss on training images, of which epoch 0 has none.
        val_loss: The loss on validation images.
        val_map: The mAP on validation images, 0 to 1.
        chosen: The index of the epoch whose weights are kept; None if none is.
        score: Its score by `select_by`, larger is better; -inf if none is kept.
    """

    name: str
    epochs: list
    loss: list
    val_loss: list
    val_map: list
    chosen: int | None
    score: float


def read(run):
    """Reads the curves of the steps of a `Run` that have finished an epoch, in order.

    Raises:
        ValueError: A history is no table of numbers.
    """
    paths = {name: run.folder / name / HISTORY for name in TITLES}
    by_loss = run.config.training.select_by == "loss"
    curves = [
        _read_step(name, path, by_loss)
        for name, path in paths.items()
        if path.is_file()
    ]
    return [curve for curve in curves if curve.epochs]


def _read_step(name, path, by_loss):
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        epochs = [int(row["epoch"]) for row in rows]
        loss, val_loss, val_map = (
            [float(row.get(column) or "nan") for row in rows]
            for column in ("loss", "val_loss", "val_mAP")
        )
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(
            "The history of a step cannot be read. Expected a csv with numbers for "
            f"each epoch. Received: {path} ({error!r})"
        ) from error
    chosen, best = None, -math.inf
    # As in training: an epoch must be better than all before it.
    for index, score in enumerate([-each for each in val_loss] if by_loss else val_map):
        if score > best:
            chosen, best = index, score
    return StepCurve(name, epochs, loss, val_loss, val_map, chosen, best)


def write(run):
    """Draws the curves of a `Run` into its folder, as `curves.png`, atomically.

    A picture is not worth a training run: where it cannot be written, that is reported
    on stderr, and nothing is raised.
    """
    path = run.folder / "curves.png"
    try:
        curves = read(run)
        if curves:
            with atomic_write(path) as temporary:
                temporary.write_bytes(draw(curves))
    except (OSError, ValueError) as error:
        print(f"not written: {path} ({error})", file=sys.stderr)


def draw_run(folder):
    """Draws the curves of the run in a folder.

    Returns:
        The result of `draw`; None if the folder holds no run, or one without curves.

    Raises:
        ValueError: See `read`.
    """
    if not (pathlib.Path(folder) / "config.json").is_file():
        return None
    curves = read(Run.open(folder))
    return draw(curves) if curves else None


def draw(curves):
    """Draws curves as a PNG: losses above, mAP below, a column for each step.

    Step 2 has a line at the mAP of the pooled classifier that step 1 has kept.

    Args:
        curves: A list of at least one `StepCurve`.

    Returns:
        The bytes of the PNG file; the same for the same curves.
    """
    width = WIDTH * len(curves)
    figure = Figure((width, HEIGHT), dpi=DPI)
    # Inches; a layout that matplotlib computes takes as long as the drawing.
    edges = {"left": 0.9 / width, "right": 1 - 0.15 / width}
    edges |= {"bottom": 0.5 / HEIGHT, "top": 1 - 0.3 / HEIGHT}
    losses, maps = figure.subplots(2, len(curves), squeeze=False)
    figure.subplots_adjust(**edges, wspace=0.22, hspace=0.14)
    firsts = [curve for curve in curves if curve.name != "step2"]
    level = _kept(max(firsts, key=lambda curve: curve.score)) if firsts else math.nan
    for curve, upper, lower in zip(curves, losses, maps, strict=True):
        upper.set_title(TITLES[curve.name], loc="left", weight="bold", size=11)
        dots = {"marker": "." if len(curve.epochs) <= DOTTED else ""}
        upper.plot(curve.epochs, curve.loss, c=ORANGE, label="training", **dots)
        upper.plot(curve.epochs, curve.val_loss, c=BLUE, label="validation", **dots)
        percent = [100 * share for share in curve.val_map]
        of_step_2 = curve.name == "step2"
        model = "attention model" if of_step_2 else "pooled classifier"
        lower.plot(curve.epochs, percent, c=BLUE, label=model, **dots)
        if of_step_2 and not math.isnan(level):
            label = f"step 1: {100 * level:.1f} %"
            lower.axhline(100 * level, c=GREY, ls="--", lw=1.2, label=label)
        _mark_chosen(curve, upper, lower)
        for axes in (upper, lower):
            _finish(axes)
        lower.set_xlabel("epoch")
        if curve is not curves[0]:
            lower.sharey(maps[0])
    losses[0].set_ylabel("loss")
    maps[0].set_ylabel("mAP on validation images, %")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _kept(curve):
    """Returns the mAP of the epoch whose weights are kept; NaN if none is."""
    return math.nan if curve.chosen is None else curve.val_map[curve.chosen]


def _mark_chosen(curve, upper, lower):
    """Marks the epoch whose weights are kept on both axes, and names it."""
    if curve.chosen is None:
        return
    epoch, share = curve.epochs[curve.chosen], _kept(curve)
    name = f"kept: epoch {epoch}" if epoch else "kept: the start"
    for axes, value, label in (
        (upper, curve.val_loss[curve.chosen], name),
        (lower, 100 * share, f"{name}, {100 * share:.1f} %"),
    ):
        axes.axvline(epoch, c=RED, ls=":", lw=1.2)
        axes.plot([epoch], [value], "o", c=RED, ls="none", label=label, zorder=3)


def _finish(axes):
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # Few numbers are short ones.
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(c="#e6eaef")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=0.8, edgecolor="none", fontsize=9)
