"""Files that have changed on the disk: a bit flipped, the end cut off."""

import functools

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
    content = bytearray(path.read_bytes())
    place = bench.random.randrange(len(content))
    content[place] ^= 1 << bench.random.randrange(8)
    path.write_bytes(content)


def truncated(bench, path):
    content = path.read_bytes()
    path.write_bytes(content[: bench.random.randrange(1, len(content))])


SPOILT = {"a flipped bit": flipped, "truncated": truncated}


def by_fit(bench, spoil, name):
    """Resumes a run with a spoilt file; then with the file as it was."""
    run, saved = bench.copy(*BY_FIT[name]), bench.new("saved")
    spoil(bench, run / name)
    life = bench.fit(run, saved)
    if _went_on(life, name):
        bench.must_equal(run, saved)
        return "", HARMLESS
    said = refused(life, run / name)
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
    (spoilt, *_) = sorted(run.glob(name))
    spoil(bench, spoilt)
    life = bench.evaluate(run, path)
    if life.wait() != 0:
        raise NotHeldError(f"the evaluation ends: {life.errors[-300:]}")
    if figures(path) != bench.figures:
        raise NotHeldError(f"other figures, of {spoilt}")
    said = [line for line in life.errors.splitlines() if str(spoilt) in line]
    if said:
        return said[0], "computed again, figures bit-equal"
    if spoil is not flipped:
        raise NotHeldError(f"{spoilt} is not named")
    return "", HARMLESS


def by_svm_export(bench, spoil):
    """Exports a run with SVMs that are spoilt."""
    run, saved = bench.copy_of(bench.evaluated), bench.new("saved")
    spoil(bench, run / "svm.npz")
    arguments = [f"--model_dir={run}", f"--saved_models={saved}", "--svm"]
    life = bench.start("export", *arguments)
    if _went_on(life, "svm.npz"):
        return "", HARMLESS
    said = refused(life, run / "svm.npz")
    if saved.exists():
        raise NotHeldError("something was exported")
    return said, "refused, nothing exported"


def by_prediction(bench, spoil, name):
    """Predicts with a version of a SavedModel that is spoilt."""
    version = bench.copy_of(bench.version)
    spoil(bench, version / name)
    arguments = [f"--model_dir={version}", bench.data / "val0.png"]
    return refused(bench.start("predict", *arguments), version), "refused"


def _went_on(life, name):
    """Whether a flipped bit was none that counts, such as a zip file's date."""
    return life.wait() == 0 and name.endswith(".npz")


HARMLESS = "went on: the bit is no part of the arrays, all of which are bit-equal"
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
