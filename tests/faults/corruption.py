"""Corrupted files: a flipped bit or a truncated end."""

import functools

from ram_tf.storage import cache
from tests.faults.case import Case, FailedError
from tests.faults.workspace import VERSION, read_metrics, refusal

# The files to remove, so that fit.py must read the corrupted one.
BY_FIT = {
    "config.json": (),
    "pooled.weights.h5": (),
    "model.weights.h5": (),
    "step1/checkpoint.npz": ("pooled.weights.h5",),
    "step1/best.weights.h5": ("pooled.weights.h5",),
    "step2/checkpoint.npz": ("model.weights.h5",),
    "step2/best.weights.h5": ("model.weights.h5",),
}
BY_EVALUATION = ("svm.npz", "outputs/*.npz")
NOT_READ = ("fingerprint.pb", "assets/labels.txt")
BY_EXPORT = ("config.json", "model.weights.h5", "calibration.json")


def flipped(work, path):
    """Flips a bit that has an effect, unlike those of the dates in a zip file."""
    whole, before = path.read_bytes(), _arrays(path)
    while True:
        content = bytearray(whole)
        content[work.random.randrange(len(content))] ^= 1 << work.random.randrange(8)
        path.write_bytes(content)
        if before is None or _arrays(path) != before:
            return


def _arrays(path):
    """Returns the bytes of an npz file's arrays; None for other or unreadable files."""
    try:
        return {name: array.tobytes() for name, array in cache.load(path).items()}
    except ValueError:
        return None


def truncated(work, path):
    content = path.read_bytes()
    path.write_bytes(content[: work.random.randrange(1, len(content))])


CORRUPTIONS = {"a flipped bit": flipped, "truncated": truncated}


def by_fit(work, corrupt, name):
    """Resumes a run with a corrupted file, then with the original file."""
    run, saved = work.copy(*BY_FIT[name]), work.new("saved")
    corrupt(work, run / name)
    message = refusal(work.fit(run, saved), run / name)
    (run / name).write_bytes((work.undisturbed / name).read_bytes())
    return message, "refused; repaired, " + work.finish(run)


def by_export(work, corrupt, name):
    """Exports a run with a corrupted file."""
    run, saved = work.copy(), work.new("saved")
    corrupt(work, run / name)
    arguments = [f"--model_dir={run}", f"--saved_models={saved}"]
    message = refusal(work.start("export", *arguments), run / name)
    if saved.exists():
        raise FailedError("something was exported")
    return message, "refused, nothing exported"


def by_evaluation(work, corrupt, name):
    """Evaluates a run with corrupted cached files."""
    run, output = work.copy_of(work.evaluated), work.new("result.json")
    paths = sorted(run.glob(name))
    for path in paths:
        corrupt(work, path)
    if run / "svm.npz" not in paths:
        # With this file, evaluate.py does not read the features.
        (run / "svm.npz").unlink()
    process = work.evaluate(run, output)
    if process.wait() != 0:
        raise FailedError(f"the evaluation fails: {process.errors[-300:]}")
    if read_metrics(output) != work.metrics:
        raise FailedError(f"different metrics with {name}")
    unnamed = [path for path in paths if str(path) not in process.errors]
    if unnamed:
        raise FailedError(f"{unnamed[0]} is not named")
    lines = process.errors.splitlines()
    message = next(line for line in lines if str(paths[0]) in line)
    return message, "computed again, metrics bit-equal"


def by_svm_export(work, corrupt):
    """Exports a run with corrupted SVMs."""
    run, saved = work.copy_of(work.evaluated), work.new("saved")
    corrupt(work, run / "svm.npz")
    arguments = [f"--model_dir={run}", f"--saved_models={saved}", "--svm"]
    message = refusal(work.start("export", *arguments), run / "svm.npz")
    if saved.exists():
        raise FailedError("something was exported")
    return message, "refused, nothing exported"


def by_prediction(work, corrupt, name):
    """Predicts with a corrupted version of a SavedModel."""
    version = work.copy_of(work.version)
    corrupt(work, version / name)
    arguments = [f"--model_dir={version}", work.data / "val0.png"]
    return refusal(work.start("predict", *arguments), version), "refused"


FAULT = "file changed: "
WHERE = (
    *((f"fit.py --resume: {n}", by_fit, {"name": n}) for n in BY_FIT),
    *((f"export.py: {n}", by_export, {"name": n}) for n in BY_EXPORT),
    *((f"evaluate.py: {n}", by_evaluation, {"name": n}) for n in BY_EVALUATION),
    ("export.py --svm: svm.npz", by_svm_export, {}),
    *(
        (f"predict.py: a version's {n}", by_prediction, {"name": n})
        for n in VERSION
        if n not in NOT_READ
    ),
)
CASES = tuple(
    Case(FAULT + how, where, functools.partial(do, corrupt=corrupt, **named))
    for how, corrupt in CORRUPTIONS.items()
    for where, do, named in WHERE
)
