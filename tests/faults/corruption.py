"""Files that have changed on the disk: a bit flipped, the end cut off."""

import functools

from ram_tf.storage import cache
from tests.faults.bench import VERSION, figures, refused
from tests.faults.case import Case, NotHeldError

# Where the program has no reason to read a file, what it would be made from is removed.
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


def flipped(bench, path):
    """Flips a bit, other than one that counts for nothing, as in a zip file's dates."""
    whole, before = path.read_bytes(), _arrays(path)
    while True:
        content = bytearray(whole)
        content[bench.random.randrange(len(content))] ^= 1 << bench.random.randrange(8)
        path.write_bytes(content)
        if before is None or _arrays(path) != before:
            return


def _arrays(path):
    """The bytes of an npz file's arrays; None of another, or one that is spoilt."""
    try:
        return {name: array.tobytes() for name, array in cache.load(path).items()}
    except ValueError:
        return None


def truncated(bench, path):
    content = path.read_bytes()
    path.write_bytes(content[: bench.random.randrange(1, len(content))])


SPOILT = {"a flipped bit": flipped, "truncated": truncated}


def by_fit(bench, spoil, name):
    """Resumes a run with a spoilt file; then with the file as it was."""
    run, saved = bench.copy(*BY_FIT[name]), bench.new("saved")
    spoil(bench, run / name)
    said = refused(bench.fit(run, saved), run / name)
    (run / name).write_bytes((bench.undisturbed / name).read_bytes())
    return said, "refused; repaired, " + bench.finish(run)


def by_export(bench, spoil, name):
    """Exports a run with a spoilt file."""
    run, saved = bench.copy(), bench.new("saved")
    spoil(bench, run / name)
    arguments = [f"--model_dir={run}", f"--saved_models={saved}"]
    said = refused(bench.start("export", *arguments), run / name)
    if saved.exists():
        raise NotHeldError("something was exported")
    return said, "refused, nothing exported"


def by_evaluation(bench, spoil, name):
    """Evaluates a run of which what was kept is spoilt."""
    run, path = bench.copy_of(bench.evaluated), bench.new("result.json")
    spoilt = sorted(run.glob(name))
    for each in spoilt:
        spoil(bench, each)
    if run / "svm.npz" not in spoilt:
        # With it, the features that it was fitted to are not read.
        (run / "svm.npz").unlink()
    life = bench.evaluate(run, path)
    if life.wait() != 0:
        raise NotHeldError(f"the evaluation ends: {life.errors[-300:]}")
    if figures(path) != bench.figures:
        raise NotHeldError(f"other figures, of {name}")
    unnamed = [each for each in spoilt if str(each) not in life.errors]
    if unnamed:
        raise NotHeldError(f"{unnamed[0]} is not named")
    said = next(line for line in life.errors.splitlines() if str(spoilt[0]) in line)
    return said, "computed again, figures bit-equal"


def by_svm_export(bench, spoil):
    """Exports a run with SVMs that are spoilt."""
    run, saved = bench.copy_of(bench.evaluated), bench.new("saved")
    spoil(bench, run / "svm.npz")
    arguments = [f"--model_dir={run}", f"--saved_models={saved}", "--svm"]
    said = refused(bench.start("export", *arguments), run / "svm.npz")
    if saved.exists():
        raise NotHeldError("something was exported")
    return said, "refused, nothing exported"


def by_prediction(bench, spoil, name):
    """Predicts with a version of a SavedModel that is spoilt."""
    version = bench.copy_of(bench.version)
    spoil(bench, version / name)
    arguments = [f"--model_dir={version}", bench.data / "val0.png"]
    return refused(bench.start("predict", *arguments), version), "refused"


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
    Case(FAULT + how, where, functools.partial(do, spoil=spoil, **named))
    for how, spoil in SPOILT.items()
    for where, do, named in WHERE
)
