"""Folders that cannot be written, not even by root."""

from tests.faults import mounted
from tests.faults.bench import figures, refused
from tests.faults.case import Case, NotHeldError


def new_run(bench):
    """Begins a run in a read-only folder."""
    folder = bench.new("locked")
    folder.mkdir()
    with mounted.read_only(folder):
        said = refused(bench.fit(folder / "run", bench.new("saved")), folder)
    return said, bench.finish(folder / "run")


def begun_run(bench):
    """Goes on with a run whose folder has become read-only."""
    run = bench.copy("model.weights.h5", "step2/checkpoint.npz")
    with mounted.read_only(run):
        said = refused(bench.fit(run, bench.new("saved")), run)
    return said, bench.finish(run)


def export_to(bench):
    """Exports to a read-only folder."""
    saved = bench.new("saved")
    saved.mkdir()
    arguments = [f"--model_dir={bench.undisturbed}", f"--saved_models={saved}"]
    with mounted.read_only(saved):
        said = refused(bench.start("export", *arguments), saved)
    return said, "nothing written"


def export_from(bench):
    """Exports a read-only run, of which nothing is to be written."""
    run, saved = bench.copy(), bench.new("saved")
    with mounted.read_only(run):
        arguments = [f"--model_dir={run}", f"--saved_models={saved}"]
        life = bench.start("export", *arguments)
        if life.wait() != 0:
            raise NotHeldError(f"not exported: {life.errors[-300:]}")
    bench.must_be_versions(saved / "csv")
    return "the folder of the version", "bit-equal"


def evaluate(bench):
    """Evaluates a read-only run, whose features cannot be kept."""
    run, path = bench.copy_of(bench.evaluated), bench.new("result.json")
    for kept in (run / "outputs").iterdir():
        kept.unlink()
    with mounted.read_only(run):
        life = bench.evaluate(run, path)
        if life.wait() != 0:
            raise NotHeldError(f"not evaluated: {life.errors[-300:]}")
    said = [line for line in life.errors.splitlines() if "not kept" in line]
    if not said or figures(path) != bench.figures:
        raise NotHeldError(f"other figures, or not said: {life.errors[-300:]}")
    return said[0], "figures bit-equal"


FAULT = "read-only folder"
CASES = (
    Case(FAULT, "fit.py: a new run", new_run),
    Case(FAULT, "fit.py --resume: a run", begun_run),
    Case(FAULT, "export.py: saved_models", export_to),
    Case(FAULT, "export.py: the run", export_from),
    Case(FAULT, "evaluate.py: the run", evaluate),
)
