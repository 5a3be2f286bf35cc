"""The comparisons of section 5.3, tables 3 to 6 and figure 5, on any data.

The rows of a table are runs that differ from a base in a setting or two. Each run has a
folder named after its settings, so that tables share runs and an interrupted command
resumes with the run at which it stopped.
"""

import functools
import json
import statistics

import keras

from ram_tf.data.drawing import BLUE, GREEN, contact_sheet, draw_boxes
from ram_tf.data.images.decoding import decode_image
from ram_tf.evaluation import infer_split, results
from ram_tf.evaluation.ensemble import ViewSettings
from ram_tf.evaluation.papers.ablation_tables import CROPS, LOCATIONS
from ram_tf.models import evidence_map
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from ram_tf.runs.splits import proposals, run_splits
from ram_tf.storage import cache
from ram_tf.storage.atomic_files import (
    atomic_write,
    read,
    read_text,
    write_with_checksum,
)
from ram_tf.training import two_steps

EDGE_BOXES = 5  # in figure 5


def compare(table, base, seeds, output_dir, svm=False):
    """Trains the missing runs of a table, and evaluates all of them.

    Step 1 depends on image size and seed only: it is trained once for each of these in
    a folder of its own, and its weights are copied to the runs. Ten views become five
    if training does not mirror images (ours: the mirror image of something with a left
    and a right shows something else).

    Args:
        table: An `ablation_tables.Table`.
        base: The `Config` that the settings of a row are applied to.
        seeds: The seeds that each run is trained with.
        output_dir: The folder of the runs and of the result.
        svm: Whether SVMs on the views' features give the scores (section 5.1).

    Returns:
        A dict ready for JSON, metrics in percent: `table`, `title`, `dataset`, `split`,
        `images`, `seeds`, `svm`, `columns` and `rows`, each of them `name`, `views`,
        `scales`, `paper`, and `ours`: from a metric to a dict of `mean`, `deviation`
        (the sample standard deviation; None for one seed) and the `values` by seed.
        `pooled`, and `pooled_longer` if the table has it, are like `ours`, of step 1's
        classifier.
    """
    max_views = 10 if base.image.flip else 5

    @functools.lru_cache(maxsize=1)
    def splits(seed):
        return run_splits.load(base.replace(seed=seed))

    # Before any training: a row may have a setting that does not go with `base`.
    models = {
        row.name: [base.replace(**changes) for changes in row.models]
        for row in table.rows
    }
    by_row = {row.name: [] for row in table.rows}
    for seed in seeds:
        for number, row in enumerate(table.rows, 1):
            print(
                f"table {table.number}, seed {seed}, row {number} of "
                f"{len(table.rows)}: {row.name}"
            )
            result = _evaluated(
                [each.replace(seed=seed) for each in models[row.name]],
                min(row.views, max_views),
                svm,
                output_dir,
                functools.partial(splits, seed),
            )
            by_row[row.name].append(result)
    of_first_row = by_row[table.rows[0].name]
    first = of_first_row[0]
    compared = {
        "table": table.number,
        "title": table.title,
        "dataset": base.data.dataset,
        "split": first["split"],
        "images": first["images"],
        "seeds": list(seeds),
        "svm": svm,
        "columns": list(table.columns),
        "pooled": {
            metric: _over_seeds([r["pooled"].get(metric) for r in of_first_row])
            for metric in table.metrics
        },
        "rows": [
            {
                "name": row.name,
                "views": by_row[row.name][0]["protocol"]["views"],
                "scales": by_row[row.name][0]["protocol"]["scales"],
                "paper": list(row.paper),
                "ours": {
                    metric: _over_seeds([r.get(metric) for r in by_row[row.name]])
                    for metric in table.metrics
                },
            }
            for row in table.rows
        ],
    }
    if table.longer:
        longer = [
            _longer_pooled(
                base.replace(seed=seed), output_dir, functools.partial(splits, seed)
            )
            for seed in seeds
        ]
        compared["pooled_longer"] = {
            metric: _over_seeds([result.get(metric) for result in longer])
            for metric in table.metrics
        }
    stem = table.number if table is LOCATIONS else f"table{table.number}"
    results.write(compared, output_dir / f"{stem}.json")
    return compared


def _evaluated(models, views, svm, output_dir, load):
    """Returns the metrics of the ensemble of these settings on the test split."""
    runs = [_trained(settings, output_dir, load) for settings in models]
    name = "+".join(run.folder.name for run in runs)
    suffix = "-svm" if svm else ""
    path = output_dir / "results" / f"{name}-{CROPS[views]}{suffix}.json"
    files = [file for run in runs for file in (run.model_weights, run.pooled_weights)]
    files += [run.calibration_file for run in runs if run.config.evaluation.calibrate]
    key = [*map(cache.fingerprint, files), load().report.digest, evidence_map.METHOD]
    stored = _read_metrics(path, key)
    if stored:
        return stored
    source = "features" if views > 1 or svm else "image"
    view = ViewSettings(count=views, source=source, svm=svm)
    result = infer_split.evaluate_runs(runs, load().report, runs[0].config, view)
    return _store_metrics(path, result, key)


def _read_metrics(path, key):
    """Returns the metrics in a file; None if it is missing or has another key.

    Args:
        path: The file.
        key: What the metrics depend on: weights, images, the evidence map's method.
    """
    if path.exists():
        result = json.loads(read_text(path))
        if result.pop("of", None) == key:
            return result
    return None


def _store_metrics(path, result, key):
    path.parent.mkdir(exist_ok=True)
    with write_with_checksum(path) as temporary:
        results.write({**result, "of": key}, temporary)
    return _read_metrics(path, key)


def _longer_pooled(settings, output_dir, load):
    """Returns the metrics of a step 1 as long as both steps together."""
    epochs = settings.training.pooled_epochs + settings.training.epochs
    settings = _of_step_1(settings).replace(pooled_epochs=epochs)
    run = _start(settings, output_dir, "pooled-longer", load)
    path = output_dir / "results" / f"{run.folder.name}.json"
    if not run.pooled_weights.exists():
        keras.utils.clear_session()
        two_steps.train_pooled(run, load().train, load().selection)
    report = load().report
    key = [cache.fingerprint(run.pooled_weights), report.digest]
    stored = _read_metrics(path, key)
    if stored:
        return stored
    outputs = infer_split.infer_pooled(run_models.load_pooled(run), report, settings)
    metrics = results.classification_metrics(report.labels, outputs, report.label_names)
    return _store_metrics(path, metrics, key)


def _trained(settings, output_dir, load):
    """Returns the finished run of these settings; trains or resumes it if needed."""
    if settings.is_rarl:
        rewarded = settings.loss.lambda_reinforce > 0
        regions = (
            f"rarl-{settings.attention.locations}" if rewarded else "rarl-not-rewarded"
        )
    elif settings.given_regions:
        regions = "proposals"
    else:
        regions = f"attention-{settings.loss.constraints or 'null'}"
    run = _start(settings, output_dir, regions, load)
    run.record_training_images(*load()[:2])
    calibrated = run.calibration_file.exists() or not settings.evaluation.calibrate
    if run.model_weights.exists() and calibrated:
        return run
    # Otherwise graphs and weights of earlier runs stay in memory.
    keras.utils.clear_session()
    if not run.pooled_weights.exists():
        _copy_step_1(run, output_dir, load)
    train, selection = (proposals.for_run(run, split) for split in load()[:2])
    _, model = two_steps.train(run, train, selection)
    if settings.evaluation.calibrate:
        infer_split.calibrate(run, model, selection)
    return run


def _copy_step_1(run, output_dir, load):
    first = _start(_of_step_1(run.config), output_dir, "step1", load)
    two_steps.train_pooled(first, load().train, load().selection)
    # The weights are last: once they exist, step 1 counts as trained.
    for name in ("pooling.txt", first.pooled_weights.name):
        if (first.folder / name).exists():
            with write_with_checksum(run.folder / name) as temporary:
                temporary.write_bytes(read(first.folder / name))


def _of_step_1(settings):
    """Resets the settings of rows that do not affect step 1 to their defaults."""
    names = "model locations lambda_reinforce region_source constraints".split()
    defaults = {name: Config()[name] for name in names}
    if settings.attention.localization == "content":
        defaults["constraints"] = ""  # the default has anchors, which it refuses
    return settings.replace(**defaults)


def _start(settings, output_dir, name, load):
    folder = (
        output_dir / f"{name}-{settings.image.image_size}-seed{settings.training.seed}"
    )
    return Run.start(folder, settings, load().train.label_names, resume=True)


def _over_seeds(values):
    values = [None if value is None else 100 * value for value in values]
    numbers = [value for value in values if value is not None]
    return {
        "mean": statistics.mean(numbers) if numbers else None,
        "deviation": statistics.stdev(numbers) if len(numbers) > 1 else None,
        "values": values,
    }


def draw_figure_5(predictor, paths, path):
    """Draws the model's regions on images, next to the top five EdgeBoxes (figure 5).

    Args:
        predictor: A `Predictor`.
        paths: Image files.
        path: The output picture: for each image its K regions in green, then the
            proposals in blue.

    Raises:
        ValueError: An image cannot be read.
    """
    pictures = []
    for image_path in paths:
        encoded = image_path.read_bytes()
        outputs = predictor([encoded])
        if not outputs["valid"][0]:
            raise ValueError(
                "The image cannot be read. Expected a JPEG or PNG file. "
                f"Received: {image_path}"
            )
        data = predictor.config.data
        image = decode_image(encoded, data.max_pixels, data.truncated).numpy()
        found = proposals.edge_boxes(image, EDGE_BOXES, pad=False)
        regions = outputs["boxes"][0]
        pictures += [
            draw_boxes(image, regions, GREEN, f"{len(regions)} attentional regions"),
            draw_boxes(image, found, BLUE, f"top {len(found)} EdgeBoxes"),
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        contact_sheet(pictures).save(temporary)
