"""Ensembles of runs: their joint view, and the SVMs on its descriptions."""

import dataclasses

import numpy as np

from ram_tf.evaluation import svm
from ram_tf.runs import run_models
from ram_tf.runs.splits import run_splits
from ram_tf.storage import cache


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """The views of an image that are evaluated, and what scores them.

    Args:
        scales: Edges N in pixels, of several runs one each; empty for training's.
        count: 1, 5 or 10 views.
        source: "features" or "image", see `MultiView`.
        svm: Whether an SVM fitted to the training split gives the scores.
        feature: The SVM's description of a region, one of `DESCRIPTIONS`; None for `z`
            where regions are flattened (25,088 numbers each with VGG-16), else for
            `pooled`, which is also the input of step 1's classifier.
    """

    scales: tuple = ()
    count: int = 1
    source: str = "image"
    svm: bool = False
    feature: str | None = None


def ensemble_view(runs, views):
    """Builds the `MultiView` of the trained models of runs.

    Args:
        runs: `Run`s of the same labels and loss. A single run processes all scales; of
            several, each processes its own.
        views: `ViewSettings`.

    Raises:
        ValueError: The runs have different labels or losses, or not a scale each.
    """
    for run in runs[1:]:
        if (run.label_names, run.config.loss.classification) != (
            runs[0].label_names,
            runs[0].config.loss.classification,
        ):
            raise ValueError(
                "The runs of an ensemble must have the same labels and loss. Expected "
                f"those of {runs[0].folder}. Received: {run.folder}"
            )
    scales = [views.scales]
    if len(runs) > 1:
        scales = [(size,) for size in views.scales] or [()] * len(runs)
    if len(scales) != len(runs):
        raise ValueError(
            "Each of several runs needs a scale of its own. Expected "
            f"{len(runs)} --scales, or none for those of training. "
            f"Received: {', '.join(map(str, views.scales))}"
        )
    usual = "z" if runs[0].config.attention.region_pooling == "flatten" else "pooled"
    describe = (views.feature or usual) if views.svm else None
    members = [
        run_models.view(
            run,
            run_models.load_attention(run),
            sizes,
            count=views.count,
            source=views.source,
            describe=describe,
        )
        for run, sizes in zip(runs, scales, strict=True)
    ]
    return members[0].joined_with(*members[1:])


def fit_svms(view, runs, describe):
    """Loads the SVMs on a view's descriptions, or fits and stores them.

    They are stored with the first run, where `svm_view` finds them.

    Args:
        view: A `MultiView` that returns descriptions.
        runs: Its `Run`s.
        describe: A function from a `Split` to its descriptions `(n, D)`.

    Returns:
        The `OneVsRestSVM`.
    """
    first = runs[0]
    train = run_splits.load_training(first.config)
    train = run_splits.with_labels(train, first.label_names)
    about = _identity(view, runs)
    trained_on = {name for run in runs for name in _training_names(run)}
    held_out = np.array([name not in trained_on for name in train.names])
    rule = {"costs": svm.COSTS, "enough": svm.MIN_POSITIVES}
    how = {**about, **rule, "folds": svm.FOLDS}
    arrays = train.labels, held_out
    key = cache.key_of(how, weight_files(view, runs), train, first.config, *arrays)

    def fit():
        seed = first.config.training.seed
        return svm.fit(describe(train), train.labels, about, seed, held_out=held_out)

    return svm.remember(first.svm, about, key, fit)


def _training_names(run):
    """The names of a run's training images: as recorded, else as divided today."""
    recorded = run.training_images.names()
    if recorded:
        return recorded
    train, _ = run_splits.hold_back(run.config, run_splits.load_training(run.config))
    return train.names


def weight_files(view, runs):
    """The weight files of a view's models; it may have those of the first run only."""
    return [run.model_weights for run in runs[: len(view.models)]]


def _identity(view, runs):
    """What SVMs on a view's descriptions depend on: the view and its weights."""
    weights = [cache.fingerprint(run.model_weights) for run in runs]
    return {**view.about, "weights": weights}


def svm_view(runs):
    """Builds the view of runs with the SVMs that `fit_svms` stored.

    Raises:
        FileNotFoundError: There are no SVMs.
        ValueError: The SVMs were fitted to other runs.
    """
    fitted = svm.OneVsRestSVM.load(runs[0].svm)
    about = fitted.about
    expected = len(about.get("weights", ()))
    if expected != len(runs):
        raise ValueError(
            "The SVMs were fitted to another number of runs. Expected "
            f"{expected}. Received: {len(runs)}"
        )
    views = ViewSettings(
        scales=tuple(about["scales"]),
        count=about["views"],
        source=about["views_from"],
        svm=True,
        feature=about["describe"],
    )
    view = ensemble_view(runs, views)
    found = _identity(view, runs)
    if found != about:
        changed = [name for name in found if found[name] != about.get(name)]
        raise ValueError(
            "The SVMs were fitted to other runs, or before these were trained. "
            "Expected the runs that evaluate.py --svm was given, in the same order. "
            f"Received: other {', '.join(changed)}"
        )
    return svm.SVMView(view, fitted)
