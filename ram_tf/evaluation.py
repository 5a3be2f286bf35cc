"""From a model and a split to the table of figures that a person compares."""

import dataclasses
import json
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ram_tf import (
    bootstrap,
    cache,
    calibration,
    metrics,
    proposals,
    protocols,
    run_splits,
    svm,
)
from ram_tf.model import crop_to_image
from ram_tf.preprocessing import evaluation_pipeline, read_files
from ram_tf.run import replacing

PAPER = protocols.PROTOCOLS["rdar"]
INTERPOLATIONS = ("none", "voc2010", "voc2007")
FIGURES = ("mAP", "OP", "OR", "OF1", "CP", "CR", "CF1")  # beginnings of their names


def look(view, split, settings):
    """Runs a view over a split.

    Args:
        view: A `MultiView` or what wraps one.
        split: The `Split`.
        settings: The `Config`, for the batch size and the largest image.

    Returns:
        The view's dict as NumPy arrays, `n` rows each.
    """
    inputs = [tf.TensorSpec([None, n, n, 3]) for n in view.sizes]
    if split.proposals is not None:
        inputs.append(tf.TensorSpec([None, *split.proposals.shape[1:]]))
    graph = tf.function(view, [tuple(inputs)], autograph=False)
    return _over(split, view.sizes, None, settings, graph)


def look_pooled(pooled, split, settings):
    """Runs a pooled classifier over a split, on the centre crop."""
    sizes, crop = [settings.image_size], settings.crop
    return _over(
        split, sizes, crop, settings, lambda inputs: pooled.predict_on_batch(inputs[0])
    )


def _over(split, sizes, crop, settings, forward):
    batch_size = settings.batch_size
    batches = evaluation_pipeline(split, sizes, crop, batch_size, settings.max_pixels)
    total = math.ceil(len(split) / batch_size)
    bar = tqdm(batches, "evaluating", total, unit="batch", leave=False)
    return _joined(forward(images) for images in bar)


def look_served(predictor, split):
    """Runs a `Predictor` over a split, as `look` does a view."""
    size = predictor.config.batch_size
    starts = tqdm(range(0, len(split), size), "evaluating", unit="batch", leave=False)
    return _joined(
        predictor(list(read_files(split.take(range(len(split))[start : start + size]))))
        for start in starts
    )


def _joined(batches):
    batches = list(batches)
    return {
        name: np.concatenate([np.asarray(batch[name]) for batch in batches])
        for name in batches[0]
    }


def calibrate(run, model, split):
    """Fits a model's temperature and thresholds to a split, and stores them.

    Args:
        run: The `Run`.
        model: Its attention model.
        split: The selection split, which the model has not learnt from.
    """
    settings = run.config
    fitted = calibration.fit(
        split.labels,
        look(run.view(model), split, settings)["scores"],
        settings.loss,
        settings.precision_floor or None,
    )
    with replacing(run.calibration_file) as beside:
        beside.write_text(fitted.to_json(run.label_names))


def evaluate(outputs, split, settings, protocol=PAPER, about=None, **others):
    """Computes what `evaluate.py` reports.

    Args:
        outputs: The attention model's dict of arrays over the split.
        split: The `Split`; unknown labels are left out.
        settings: The `Config`.
        protocol: A `Protocol`.
        about: `MultiView.about` of the view that gave the outputs; None for the plain
            centre view.
        **others: What the model is compared with over the same split, a dict of arrays
            each; `pooled` is the pooled classifier.

    Returns:
        A dict ready for JSON, NaN as None. `mAP`, `AP`, `OP` ... `CF1` as the protocol
        has them, and its `warnings`; `mAP_<interpolation>` in all three; `mAP_min10`
        over labels with 10 positives or more; `intervals`, 95 % bootstrap intervals;
        for each of `others` the same figures under its name, and under `above_<name>`
        the paired bootstrap of the difference in `mAP_min10`; `region_iou`; and on data
        with boxes `pointing`, `pointing_centre` (always the centre of the image) and
        `pointing_pairs`; `calibration_error`, and `at_thresholds`, OP to CF1 where each
        label has its fitted threshold.
    """
    about = about or {
        "views": 1,
        "views_from": "image",
        "scales": [settings.image_size],
        "crops": [settings.crop],
    }
    labels, probabilities = split.labels, outputs["probabilities"]
    result = _figures(labels, outputs, split.label_names, protocol)
    result |= {"images": len(split), "split": split.name}
    result["protocol"] = {
        **dataclasses.asdict(protocol),
        **about,
        "difficult": settings.difficult,
        "ranked_by": "probabilities",
    }
    result["warnings"] = protocols.warnings_for(
        labels, probabilities, split.label_names, protocol
    )
    # The bootstrap counts as the paper's protocol does.
    if dataclasses.replace(protocol, name=PAPER.name) == PAPER:
        result["intervals"] = bootstrap.intervals(
            labels, probabilities, protocol.threshold, protocol.top_k[0]
        )
    result["calibration_error"] = calibration.calibration_error(labels, probabilities)
    if "thresholds" in about:
        result["at_thresholds"] = metrics.precision_recall_f1(
            labels, probabilities, about["thresholds"]
        )
    result["region_iou"] = metrics.region_iou(outputs["boxes"])
    if split.boxes is not None:
        crop_fraction = about["crops"][0] / about["scales"][0]
        result |= _pointing(outputs, split, crop_fraction)
    result["pooled"] = None
    for name, other in others.items():
        result[name] = _figures(labels, other, split.label_names, protocol)
        result[f"above_{name}"] = bootstrap.paired_difference(
            labels, other["probabilities"], probabilities
        )
    return _without_nan(result)


def _figures(labels, outputs, label_names, protocol):
    probabilities = outputs["probabilities"]
    figures = protocols.figures(labels, probabilities, protocol)
    by_label = zip(label_names, figures["AP"].tolist(), strict=True)
    figures["AP"] = dict(by_label)
    for interpolation in INTERPOLATIONS:
        figures[f"mAP_{interpolation}"] = metrics.mean_average_precision(
            labels, probabilities, interpolation
        )
    figures["mAP_min10"] = metrics.mean_average_precision(
        labels, probabilities, protocol.interpolation, min_positives=10
    )
    return figures


def _pointing(outputs, split, crop_fraction):
    # As predicted: a region may lie half outside, its clipped box would be shifted.
    centres = (outputs["regions"][:, :, ::-1, 2] + 1) / 2  # (n, K, 2), y first
    centres = crop_to_image(centres, crop_fraction)
    known = split.boxes, split.labels, split.label_names
    score, pairs = metrics.pointing_score(*known, centres, outputs["region_scores"])
    middle = np.full((len(split), 1, 2), 0.5)
    alone = np.zeros((len(split), 1, len(split.label_names)))
    centre, _ = metrics.pointing_score(*known, middle, alone)
    return {
        "pointing": score,
        "pointing_centre": centre,
        "pointing_pairs": pairs,
    }


def _without_nan(value):
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def add_arguments(parser):
    """Adds the flags of `from_arguments`."""
    parser.add_argument(
        "--protocol",
        choices=protocols.PROTOCOLS,
        default=PAPER.name,
        help="whose figures: thresholds, top k, means, interpolation; %(default)s",
    )
    parser.add_argument(
        "--threshold", type=float, help="smallest probability; default: the protocol's"
    )
    parser.add_argument(
        "--top_k",
        type=int,
        help="labels an image at most, 0 for any number; default: the protocol's",
    )
    parser.add_argument(
        "--scales",
        type=int,
        nargs="+",
        default=(),
        help="edges N that images are resized to; default: as in training",
    )
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 5, 10),
        default=1,
        help="the centre; and the corners; and their mirrors; %(default)s",
    )
    parser.add_argument(
        "--views_from",
        choices=("features", "image"),
        help="whether views are cut from features of the whole image, or each goes "
        "through the backbone; default: features where there are several",
    )
    parser.add_argument(
        "--svm",
        action="store_true",
        help="score by linear SVMs on the views' features, fitted to the training "
        "split and stored with the run",
    )
    parser.add_argument(
        "--feature",
        choices=("pooled", "x", "z"),
        default="pooled",
        help="what the SVMs see of a region: the pooled region, x of Eq. 4 or z of "
        "Eq. 5; %(default)s",
    )


def from_arguments(arguments):
    """The `Views` and the `Protocol` of parsed flags."""
    several = arguments.views > 1 or arguments.svm
    views = Views(
        tuple(arguments.scales),
        arguments.views,
        arguments.views_from or ("features" if several else "image"),
        arguments.svm,
        arguments.feature,
    )
    protocol = protocols.PROTOCOLS[arguments.protocol]
    changed = {}
    if arguments.threshold is not None:
        changed["threshold"] = arguments.threshold
    if arguments.top_k is not None:
        changed["top_k"] = (arguments.top_k or None,)
    if changed:
        name = f"{protocol.name}, changed: {', '.join(changed)}"
        protocol = dataclasses.replace(protocol, name=name, **changed)
    return views, protocol


@dataclasses.dataclass(frozen=True)
class Views:
    """How `evaluate.py` looks at images, and what scores them.

    Args:
        scales: Edges N, for several runs one each; empty for those of training.
        count: 1, 5 or 10 views.
        source: "features" or "image", see `MultiView`.
        svm: Whether an SVM fitted to the training split gives the scores.
        feature: What the SVM sees of a region, see `RecurrentMemorizedAttention`.
    """

    scales: tuple = ()
    count: int = 1
    source: str = "image"
    svm: bool = False
    feature: str = "pooled"


class Seen(NamedTuple):
    """What a model says of a split.

    Args:
        outputs: The attention model's dict of arrays.
        about: `MultiView.about` of the view that gave them.
        others: What it is compared with, see `evaluate`.
    """

    outputs: dict
    about: dict
    others: dict


def evaluate_runs(runs, split, settings, views, protocol=PAPER):
    """Evaluates what `see_runs` sees.

    Args:
        runs: See `see_runs`.
        split: The `Split` to report on.
        settings: The `Config` of the split.
        views: `Views`.
        protocol: A `Protocol`.

    Returns:
        What `evaluate` does: the figures of these views, beside them the first run's
        single view, where that is another, and its pooled classifier.
    """
    seen = see_runs(runs, split, settings, views)
    return evaluate(seen.outputs, split, settings, protocol, seen.about, **seen.others)


def see_runs(runs, split, settings, views):
    """Looks at a split through the trained models of runs together.

    What the models say of a split is kept in the first run's folder. An SVM is fitted
    to the whole training split of the first run and stored beside its weights.

    Args:
        runs: `Run`s of the same labels and loss; several are one model a scale
            (section 5.1).
        split: The `Split`.
        settings: The `Config` of the split.
        views: `Views`.

    Returns:
        What is `Seen`: these views, and to compare them with the first run's single
        view, where that is another, and its pooled classifier.

    Raises:
        ValueError: The runs cannot look together, or the training split has labels
            that are not theirs.
    """
    first = runs[0]

    def kept(about, files, split, compute):
        key = cache.key_of(about, files, split, settings)
        return cache.remember(first.folder / "outputs", key, compute)

    def seen(view, split):
        files = [run.model_weights for run in runs[: len(view.models)]]

        def compute():
            return look(view, proposals.for_run(first, split), settings)

        return kept(view.about, files, split, compute)

    view = joint_view(runs, views)
    single = first.view(view.models[0])
    scored, outputs, others = view, seen(view, split), {}
    if views.svm:
        train = run_splits.load_training(first.config)
        run_splits.check_labels(train, first.label_names)
        described = seen(view, train)["description"]
        about = _identity(view, runs)
        fitted = svm.fit(described, train.labels, about, settings.seed)
        fitted.save(first.svm)
        others["attention"] = outputs
        scored, outputs = svm.SVMView(view, fitted), fitted.judge(outputs)
    if view.about == single.about:
        scored = first.served_view(view.models[0])
        outputs = scored.judge(outputs)
    else:
        others["single_view"] = seen(single, split)
    outputs = {name: np.asarray(value) for name, value in outputs.items()}
    others["pooled"] = kept(
        {"pooled": first.pooling},
        [first.pooled_weights],
        split,
        lambda: look_pooled(first.load_pooled(), split, settings),
    )
    return Seen(outputs, scored.about, others)


def joint_view(runs, views):
    """The `MultiView` of the trained models of runs.

    Args:
        runs: `Run`s of the same labels and loss. One looks at all scales, of several
            each at its own.
        views: `Views`.

    Raises:
        ValueError: The runs have different labels or losses, or not a scale each.
    """
    for run in runs[1:]:
        if (run.label_names, run.config.loss) != (
            runs[0].label_names,
            runs[0].config.loss,
        ):
            raise ValueError(
                "Only runs of the same labels and loss look together. Expected those "
                f"of {runs[0].folder}. Received: {run.folder}"
            )
    scales = [views.scales]
    if len(runs) > 1:
        scales = [(size,) for size in views.scales] or [()] * len(runs)
    if len(scales) != len(runs):
        raise ValueError(
            f"Of several runs each looks at its own scale. Expected {len(runs)} "
            "--scales, or none for those of training. "
            f"Received: {', '.join(map(str, views.scales))}"
        )
    describe = views.feature if views.svm else None
    looks = [
        run.view(
            run.load_model(),
            sizes,
            count=views.count,
            source=views.source,
            describe=describe,
        )
        for run, sizes in zip(runs, scales, strict=True)
    ]
    return looks[0].beside(*looks[1:])


def _identity(view, runs):
    """What SVMs on a view's descriptions hold for: the view and its weights."""
    weights = [cache.fingerprint(run.model_weights) for run in runs]
    return {**view.about, "weights": weights}


def svm_view(runs):
    """The view of runs with the SVMs that `evaluate_runs` stored.

    Raises:
        FileNotFoundError: None are stored.
        ValueError: They were fitted to other runs than these.
    """
    fitted = svm.OneVsRestSVM.load(runs[0].svm)
    about = fitted.about
    fitted_to = len(about.get("weights", ()))
    if fitted_to != len(runs):
        raise ValueError(
            "The SVMs were fitted to another number of runs. Expected "
            f"{fitted_to}. Received: {len(runs)}"
        )
    scales, describe = tuple(about["scales"]), about["describe"]
    views = Views(scales, about["views"], about["views_from"], True, describe)
    view = joint_view(runs, views)
    found = _identity(view, runs)
    if found != about:
        changed = [name for name in found if found[name] != about.get(name)]
        raise ValueError(
            "The SVMs were fitted to other runs, or before these were trained. "
            "Expected the runs and their order as given to evaluate.py --svm. "
            f"Received: other {', '.join(changed)}"
        )
    return svm.SVMView(view, fitted)


def evaluate_served(predictors, split, settings, views, protocol=PAPER):
    """Evaluates what `see_served` sees.

    Args:
        predictors: See `see_served`.
        split: The `Split` to report on.
        settings: The `Config` of the split.
        views: See `see_served`.
        protocol: A `Protocol`.

    Returns:
        What `evaluate` does, with no pooled classifier to compare.
    """
    seen = see_served(predictors, split, settings, views)
    return evaluate(seen.outputs, split, settings, protocol, seen.about)


def see_served(predictors, split, settings, views):
    """Looks at a split through a SavedModel, in the way it was exported.

    Args:
        predictors: A list of one `Predictor`.
        split: The `Split`.
        settings: The `Config` of the split, not used: the SavedModel has its own.
        views: `Views`, which must be those of no flags.

    Returns:
        What is `Seen`, compared with nothing.

    Raises:
        ValueError: Several SavedModels, or views.
    """
    if len(predictors) > 1 or views != Views():
        raise ValueError(
            "A SavedModel looks as it was exported. Expected one, and no --scales, "
            "--views or --svm, or else the output folders of runs"
        )
    return Seen(look_served(predictors[0], split), predictors[0].about, {})


def columns(result):
    """The figures of the model and of what it was compared with.

    Args:
        result: What `evaluate` returned.

    Returns:
        A dict from name to figures, the model's own first: "svm" where the SVMs are
        compared with the attention model they look through, else "attention".
    """
    compared = [
        name.removeprefix("above_") for name in result if name.startswith("above_")
    ]
    own = "svm" if "attention" in compared else "attention"
    return {own: result} | {name: result[name] for name in compared}


def table(result):
    """Writes a result as the table that a person reads.

    Args:
        result: What `evaluate` returned.

    Returns:
        Lines of text: a row of AP for each label, then the means and the figures of
        Eq. 15, for the model and what it was compared with; then intervals, pointing
        and warnings.
    """
    models = columns(result)
    own, *compared = models
    rows = [("", *models)]
    rows += [
        (f"AP {label}", *(_percent(m["AP"][label]) for m in models.values()))
        for label in result["AP"]
    ]
    figures = [name for name in result if name.startswith(FIGURES)]
    for name in figures:
        rows.append((name, *(_percent(m[name]) for m in models.values())))
    for name in ("calibration_error", "pointing", "pointing_centre", "region_iou"):
        if name in result:
            rows.append((name, _percent(result[name]), *[""] * len(compared)))
    if "at_thresholds" in result:
        for name, value in result["at_thresholds"].items():
            row = f"{name} at fitted thresholds", _percent(value)
            rows.append((*row, *[""] * len(compared)))
    width = max(len(row[0]) for row in rows)
    lines = [
        row[0].ljust(width) + "".join(cell.rjust(12) for cell in row[1:])
        for row in rows
    ]
    lines += [
        f"{name}: {_percent(result[name])}, 95 % interval {_percent(i['low'])} to "
        f"{_percent(i['high'])} (bootstrap over images)"
        for name, i in result.get("intervals", {}).items()
        if i["low"] is not None
    ]
    for name in compared:
        above = result[f"above_{name}"]
        if above["difference"] is not None:
            difference, low, high = (
                f"{100 * above[key]:+.1f}" for key in ("difference", "low", "high")
            )
            lines.append(
                f"{own} - {name}, mAP_min10: {difference} points, 95 % interval {low} "
                f"to {high} (paired bootstrap)"
            )
    return "\n".join([*lines, *result["warnings"]])


def _percent(value):
    return "-" if value is None else f"{100 * value:.1f}"


def write(result, path):
    """Writes a result as JSON."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(result, indent=2) + "\n")
