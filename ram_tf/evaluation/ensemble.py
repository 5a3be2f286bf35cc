"""How runs look at images together: their joint view, and the SVMs on it."""

import dataclasses

import numpy as np

from ram_tf.evaluation import svm
from ram_tf.runs import run_models, run_splits
from ram_tf.storage import cache


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """How `evaluate.py` looks at images, and what scores them.

    Args:
        scales: Edges N, for several runs one each; empty for those of training.
        count: 1, 5 or 10 views.
        source: "features" or "image", see `MultiView`.
        svm: Whether an SVM fitted to the training split gives the scores.
        feature: What the SVM sees of a region, one of `DESCRIPTIONS`; None for `z`
            where regions are flattened, which would be 25,088 numbers of each with
            VGG-16, and for `pooled` where they are not: that is what step 1's
            classifier read, and no recurrence stands between it and the SVM.
    """

    scales: tuple = ()
    count: int = 1
    source: str = "image"
    svm: bool = False
    feature: str | None = None


def ensemble_view(runs, views):
    """The `MultiView` of the trained models of runs.

    Args:
        runs: `Run`s of the same labels and loss. One looks at all scales, of several
            each at its own.
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
    usual = "z" if runs[0].config.attention.region_pooling == "flatten" else "pooled"
    describe = (views.feature or usual) if views.svm else None
    looks = [
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
    return looks[0].joined_with(*looks[1:])


def fit_svms(view, runs, describe):
    """The SVMs on a view's descriptions: those that are stored, or newly fitted ones.

    They are stored with the first run, where `svm_view` finds them.

    Args:
        view: A `MultiView` that describes.
        runs: Its `Run`s.
        describe: From a `Split` to its descriptions `(n, D)`.
    """
    first = runs[0]
    train = run_splits.load_training(first.config)
    run_splits.check_labels(train, first.label_names)
    about = _identity(view, runs)
    learnt = {name for run in runs for name in _learnt(run)}
    unlearnt = np.array([name not in learnt for name in train.names])
    rule = {"costs": svm.COSTS, "enough": svm.ENOUGH}
    how = {**about, **rule, "folds": svm.FOLDS}
    arrays = train.labels, unlearnt
    key = cache.key_of(how, weight_files(view, runs), train, first.config, *arrays)

    def fit():
        seed = first.config.training.seed
        columns = describe(train), train.labels
        return svm.fit(*columns, about, seed, unlearnt=unlearnt)

    return svm.remember(first.svm, about, key, fit)


def _learnt(run):
    """The names of the images that a run learnt from, or would now without a note."""
    noted = run.training_images.names()
    if noted:
        return noted
    whole = run_splits.load_training(run.config)
    rest, _ = run_splits.hold_back(run.config, whole)
    return rest.names


def weight_files(view, runs):
    """The files of a view's models; it may be the first run's alone."""
    return [run.model_weights for run in runs[: len(view.models)]]


def _identity(view, runs):
    """What SVMs on a view's descriptions hold for: the view and its weights."""
    weights = [cache.fingerprint(run.model_weights) for run in runs]
    return {**view.about, "weights": weights}


def svm_view(runs):
    """The view of runs with the SVMs that `fit_svms` stored.

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
    views = ViewSettings(scales, about["views"], about["views_from"], True, describe)
    view = ensemble_view(runs, views)
    found = _identity(view, runs)
    if found != about:
        changed = [name for name in found if found[name] != about.get(name)]
        raise ValueError(
            "The SVMs were fitted to other runs, or before these were trained. "
            "Expected the runs and their order as given to evaluate.py --svm. "
            f"Received: other {', '.join(changed)}"
        )
    return svm.SVMView(view, fitted)
