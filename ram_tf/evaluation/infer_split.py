"""Inference of views, runs, SVMs and SavedModels over a split."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ram_tf.data import progress
from ram_tf.data.image_bytes import read_files
from ram_tf.data.pipelines import evaluation_pipeline
from ram_tf.data.scan import describe_unreadable
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
from ram_tf.runs import run_models
from ram_tf.runs.splits import proposals
from ram_tf.storage import cache
from ram_tf.storage.atomic_files import write_with_checksum


def infer(view, split, settings):
    """Runs a view over a split.

    Args:
        view: A `MultiView`, or a wrapper of one.
        split: The `Split` of n images.
        settings: The `Config`, for the batch size and the largest image.

    Returns:
        The outputs of the view, a dict of NumPy arrays of n rows each.
    """
    inputs = [tf.TensorSpec([None, n, n, 3]) for n in view.crops]
    if split.proposals is not None:
        inputs.append(tf.TensorSpec([None, *split.proposals.shape[1:]]))
    graph = tf.function(view, [tuple(inputs)], autograph=False)
    return _infer(split, view.sizes, view.crops, settings, graph)


def infer_pooled(pooled, split, settings):
    """Runs a pooled classifier over a split, on the centre crop.

    Args:
        pooled: A `PooledClassifier`.
        split: The `Split` of n images.
        settings: The `Config` that the classifier was trained with.

    Returns:
        A dict of NumPy arrays: `scores` and `probabilities` `(n, L)`, and for a
        classifier that `has_evidence` also `evidence` `(n, L, 2)`, `y, x` as fractions
        of the original image.
    """
    size, crop = settings.image.image_size, settings.image.crop
    graph = tf.function(
        lambda images: pooled(images, with_evidence=True),
        [tf.TensorSpec([None, crop, crop, 3])],
        autograph=False,
    )
    outputs = _infer(split, [size], [crop], settings, lambda inputs: graph(inputs[0]))
    if "evidence" in outputs:
        outputs["evidence"] = crop_to_image(outputs["evidence"], crop / size)
    return outputs


def pooled_outputs(run, split, settings):
    """Returns what `infer_pooled` returns for a run, cached in the run's folder.

    Args:
        run: The `Run`; only its step 1 must be trained.
        split: The `Split`.
        settings: The `Config` of the split.
    """
    return _cached(
        run,
        {"pooled": run.pooling, "evidence": evidence_map.METHOD},
        [run.pooled_weights],
        split,
        settings,
        lambda: infer_pooled(run_models.load_pooled(run), split, settings),
    )


def _cached(run, about, files, split, settings, compute):
    key = cache.key_of(about, files, split, settings)
    return cache.read_or_compute(run.folder / "outputs", key, compute)


def _infer(split, sizes, crops, settings, forward):
    batch_size = settings.training.batch_size
    batches = evaluation_pipeline(
        split,
        sizes,
        crops,
        batch_size,
        settings.data.max_pixels,
        settings.data.truncated,
    )
    total = math.ceil(len(split) / batch_size)
    bar = progress.bar(batches, "evaluating", total, "batch")
    return _concatenated(forward(images) for images in bar)


def infer_exported(predictor, split):
    """Runs a `Predictor` over a split.

    Returns:
        The outputs of the predictor, a dict of NumPy arrays with a row for each image.

    Raises:
        ValueError: The model rejects an image, which would count as one without labels.
    """
    size = predictor.config.training.batch_size
    starts = progress.bar(range(0, len(split), size), "evaluating", unit="batch")
    outputs = _concatenated(
        predictor(list(read_files(split.take(range(len(split))[start : start + size]))))
        for start in starts
    )
    rejected = np.flatnonzero(~outputs["valid"])
    if len(rejected):
        data = predictor.config.data
        faults = describe_unreadable(split, rejected, data.max_pixels, data.truncated)
        names = ", ".join(
            f"{split.names[i]} ({fault.detail})"
            for i, fault in zip(rejected, faults, strict=True)
        )
        raise ValueError(
            "The exported model rejects images. Expected JPEG or PNG files of at most "
            f"{data.max_pixels} pixels, its limit. Received: "
            f"{len(rejected)} of {len(split)} images that it cannot read: {names}"
        )
    return outputs


def _concatenated(batches):
    batches = list(batches)
    return {
        name: np.concatenate([np.asarray(batch[name]) for batch in batches])
        for name in batches[0]
    }


def calibrate(run, model, split):
    """Fits the temperature and thresholds of a model to a split, and stores them.

    Args:
        run: The `Run`.
        model: Its attention model.
        split: The validation split, on which the model was not trained.
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


def write_results(run, split, pooled, view=None):
    """Evaluates the trained models of a run, and writes its `results.json`.

    Args:
        run: The `Run`.
        split: The `Split` to evaluate on.
        pooled: The `PooledClassifier` of the run.
        view: The view of its attention model; None if only step 1 is trained.

    Returns:
        The metrics as lines of text.
    """
    settings = run.config
    baseline = infer_pooled(pooled, split, settings)
    if view is None:
        result = results.evaluate_pooled(baseline, split)
        text = results.table_of_pooled(result)
    else:
        outputs = infer(view, split, settings)
        result = evaluate(outputs, split, settings, about=view.about, pooled=baseline)
        text = results.table(result)
    results.write(result, run.folder / "results.json")
    return text


class SplitOutputs(NamedTuple):
    """The outputs of a model on a split.

    Args:
        outputs: The dict of arrays of the attention model.
        about: `MultiView.about` of the view that computed them.
        others: The outputs of the models that it is compared with, see `evaluate`.
    """

    outputs: dict
    about: dict
    others: dict


def evaluate_runs(runs, split, settings, views, protocol=PAPER):
    """Runs `infer_runs` and evaluates its outputs.

    Args:
        runs: See `infer_runs`.
        split: The `Split` to evaluate on.
        settings: The `Config` of the split.
        views: `ViewSettings`.
        protocol: The `Protocol` of `evaluate`.

    Returns:
        The result of `evaluate`.
    """
    inferred = infer_runs(runs, split, settings, views)
    return evaluate(
        inferred.outputs, split, settings, protocol, inferred.about, **inferred.others
    )


def infer_runs(runs, split, settings, views):
    """Runs the ensemble of trained runs over a split.

    The outputs are cached in the folder of the first run. SVMs are fitted to the whole
    training split of the first run and stored next to its weights; they are reused as
    long as views, weights, images, labels and held-back images are the same.

    Args:
        runs: `Run`s of the same labels and loss; of several, each has a scale of its
            own (section 5.1).
        split: The `Split`.
        settings: The `Config` of the split.
        views: `ViewSettings`.

    Returns:
        The `SplitOutputs`; its `others` are `pooled`, of the first run; `single_view`,
        of the first run, if these views are others; `attention`, if SVMs score.

    Raises:
        ValueError: The runs do not go together, one of them was trained on these
            images, or the training split has other labels than the runs.
    """
    first = runs[0]
    for run in runs:
        run.check_not_trained_on(split, settings)

    def cached_outputs(view, split, settings=settings):
        def compute():
            return infer(view, proposals.for_run(first, split), settings)

        files = weight_files(view, runs)
        return _cached(first, view.about, files, split, settings, compute)

    def describe(train):
        return cached_outputs(view, train, first.config)["description"]

    view = ensemble_view(runs, views)
    single = run_models.view(first, view.models[0])
    scored, outputs, others = view, cached_outputs(view, split), {}
    if views.svm:
        fitted = fit_svms(view, runs, describe)
        others["attention"] = outputs
        scored, outputs = svm.SVMView(view, fitted), fitted.postprocess(outputs)
    if view.about == single.about:
        scored = run_models.served_view(first, view.models[0])
        outputs = scored.postprocess(outputs)
    else:
        others["single_view"] = cached_outputs(single, split)
    outputs = {name: np.asarray(value) for name, value in outputs.items()}
    others["pooled"] = pooled_outputs(first, split, settings)
    return SplitOutputs(outputs, scored.about, others)


def infer_exported_models(predictors, split, settings, views):
    """Runs a SavedModel over a split, with the views that it was exported with.

    Args:
        predictors: A list of one `Predictor`.
        split: The `Split`.
        settings: Unused: the SavedModel has settings of its own.
        views: `ViewSettings`, which must be the default ones.

    Returns:
        The `SplitOutputs`, without `others`.

    Raises:
        ValueError: There are several SavedModels, or other views.
    """
    if len(predictors) > 1 or views != ViewSettings():
        raise ValueError(
            "A SavedModel is evaluated as it was exported. Expected one SavedModel "
            "without --scales, --views, --views_from or --svm, or else the output "
            f"folders of runs. Received: {len(predictors)} with {views}"
        )
    return SplitOutputs(infer_exported(predictors[0], split), predictors[0].about, {})
