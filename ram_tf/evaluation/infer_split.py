"""Through which eyes a split is looked at: views, SVMs, runs and SavedModels."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ram_tf.data.pipelines import evaluation_pipeline, read_files
from ram_tf.evaluation import results, svm
from ram_tf.evaluation.ensemble import (
    ViewSettings,
    ensemble_view,
    fit_svms,
    weight_files,
)
from ram_tf.evaluation.results import PAPER, evaluate
from ram_tf.metrics import calibration
from ram_tf.models import evidence_map
from ram_tf.models.networks import crop_to_image
from ram_tf.runs import proposals, run_models
from ram_tf.storage import cache
from ram_tf.storage.atomic_files import write_with_checksum


def infer(view, split, settings):
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


def infer_pooled(pooled, split, settings):
    """Runs a pooled classifier over a split, on the centre crop.

    Args:
        pooled: A `PooledClassifier`.
        split: The `Split`.
        settings: The `Config` that the classifier was trained with.

    Returns:
        A dict of NumPy arrays `scores` and `probabilities`, both `(n, L)`, and where
        the classifier `has_evidence` also `evidence` `(n, L, 2)`, `y, x` as fractions
        of the original image.
    """
    size, crop = settings.image.image_size, settings.image.crop
    graph = tf.function(
        lambda images: pooled(images, with_evidence=True),
        [tf.TensorSpec([None, crop, crop, 3])],
        autograph=False,
    )
    found = _over(split, [size], crop, settings, lambda inputs: graph(inputs[0]))
    if "evidence" in found:
        found["evidence"] = crop_to_image(found["evidence"], crop / size)
    return found


def pooled_outputs(run, split, settings):
    """Looks at a split through a run's pooled classifier, and keeps what it says.

    Args:
        run: The `Run`, of which step 1 alone need be trained.
        split: The `Split`.
        settings: The `Config` of the split.

    Returns:
        What `infer_pooled` does.
    """
    return _kept(
        run,
        {"pooled": run.pooling, "evidence": evidence_map.HOW},
        [run.pooled_weights],
        split,
        settings,
        lambda: infer_pooled(run_models.load_pooled(run), split, settings),
    )


def _kept(run, about, files, split, settings, compute):
    key = cache.key_of(about, files, split, settings)
    return cache.remember(run.folder / "outputs", key, compute)


def _over(split, sizes, crop, settings, forward):
    batch_size = settings.training.batch_size
    batches = evaluation_pipeline(
        split, sizes, crop, batch_size, settings.data.max_pixels
    )
    total = math.ceil(len(split) / batch_size)
    bar = tqdm(batches, "evaluating", total, unit="batch", leave=False)
    return _joined(forward(images) for images in bar)


def infer_exported(predictor, split):
    """Runs a `Predictor` over a split, as `look` does a view.

    Raises:
        ValueError: It refuses an image, which would count as one without any label.
    """
    size = predictor.config.training.batch_size
    starts = tqdm(range(0, len(split), size), "evaluating", unit="batch", leave=False)
    outputs = _joined(
        predictor(list(read_files(split.take(range(len(split))[start : start + size]))))
        for start in starts
    )
    refused = np.flatnonzero(~outputs["valid"])
    if len(refused):
        names = ", ".join(split.names[i] for i in refused)
        raise ValueError(
            "The exported model refuses images. Expected JPEG or PNG of at most "
            f"{predictor.config.data.max_pixels} pixels, as it was exported. Received: "
            f"{len(refused)} of {len(split)} others: {names}"
        )
    return outputs


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
        infer(run_models.view(run, model), split, settings)["scores"],
        settings.loss.classification,
        settings.evaluation.precision_floor or None,
    )
    with write_with_checksum(run.calibration_file) as temporary:
        temporary.write_text(fitted.to_json(run.label_names))


def report(run, split, pooled, view=None):
    """Evaluates what is trained of a run, and writes its `results.json`.

    Args:
        run: The `Run`.
        split: The `Split` to report on.
        pooled: Its `PooledClassifier`.
        view: The view of its attention model; None where step 1 alone is trained.

    Returns:
        Lines of text: the figures as a person reads them.
    """
    settings = run.config
    before = infer_pooled(pooled, split, settings)
    if view is None:
        result = results.evaluate_pooled(before, split)
        text = results.table_of_pooled(result)
    else:
        outputs = infer(view, split, settings)
        result = evaluate(outputs, split, settings, about=view.about, pooled=before)
        text = results.table(result)
    results.write(result, run.folder / "results.json")
    return text


class SplitOutputs(NamedTuple):
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
    """Evaluates what `infer_runs` sees.

    Args:
        runs: See `infer_runs`.
        split: The `Split` to report on.
        settings: The `Config` of the split.
        views: `ViewSettings`.
        protocol: A `Protocol`.

    Returns:
        What `evaluate` does: the figures of these views, beside them the first run's
        single view, where that is another, and its pooled classifier.
    """
    seen = infer_runs(runs, split, settings, views)
    return evaluate(seen.outputs, split, settings, protocol, seen.about, **seen.others)


def infer_runs(runs, split, settings, views):
    """Looks at a split through the trained models of runs together.

    What the models say of a split is kept in the first run's folder. An SVM is fitted
    to the whole training split of the first run and stored beside its weights, where
    it is read again as long as views, weights, images, labels and what the runs held
    back are the same.

    Args:
        runs: `Run`s of the same labels and loss; several are one model a scale
            (section 5.1).
        split: The `Split`.
        settings: The `Config` of the split.
        views: `ViewSettings`.

    Returns:
        The `SplitOutputs` of these views; to compare them with, those of the first
        run's single view, where that is another, and of its pooled classifier.

    Raises:
        ValueError: The runs cannot look together, one of them has seen the images, or
            the training split has labels that are not theirs.
    """
    first = runs[0]
    for run in runs:
        run.check_not_trained_on(split, settings)

    def seen(view, split, settings=settings):
        def compute():
            return infer(view, proposals.for_run(first, split), settings)

        files = weight_files(view, runs)
        return _kept(first, view.about, files, split, settings, compute)

    view = ensemble_view(runs, views)
    single = run_models.view(first, view.models[0])
    scored, outputs, others = view, seen(view, split), {}
    if views.svm:
        fitted = fit_svms(
            view, runs, lambda train: seen(view, train, first.config)["description"]
        )
        others["attention"] = outputs
        scored, outputs = svm.SVMView(view, fitted), fitted.postprocess(outputs)
    if view.about == single.about:
        scored = run_models.served_view(first, view.models[0])
        outputs = scored.postprocess(outputs)
    else:
        others["single_view"] = seen(single, split)
    outputs = {name: np.asarray(value) for name, value in outputs.items()}
    others["pooled"] = pooled_outputs(first, split, settings)
    return SplitOutputs(outputs, scored.about, others)


def infer_exported_models(predictors, split, settings, views):
    """Looks at a split through a SavedModel, in the way it was exported.

    Args:
        predictors: A list of one `Predictor`.
        split: The `Split`.
        settings: The `Config` of the split, not used: the SavedModel has its own.
        views: `ViewSettings`, which must be those of no flags.

    Returns:
        The `SplitOutputs`, compared with nothing.

    Raises:
        ValueError: Several SavedModels, or views.
    """
    if len(predictors) > 1 or views != ViewSettings():
        raise ValueError(
            "A SavedModel looks as it was exported. Expected one, without --scales, "
            "--views, --views_from or --svm, or else the output folders of runs. "
            f"Received: {len(predictors)}, to look as {views}"
        )
    return SplitOutputs(infer_exported(predictors[0], split), predictors[0].about, {})
