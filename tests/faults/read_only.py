"""Read-only folders."""

from tests.faults import mounted
from tests.faults.case import Case, FailedError
from tests.faults.workspace import read_metrics, refusal


def new_run(work):
    """Begins a run in a read-only folder."""
    folder = work.new("locked")
    folder.mkdir()
    with mounted.read_only(folder):
        message = refusal(work.fit(folder / "run", work.new("saved")), folder)
    return message, work.finish(folder / "run")


def begun_run(work):
    """Resumes a run in a read-only folder."""
    run = work.copy("model.weights.h5", "step2/checkpoint.npz")
    with mounted.read_only(run):
        message = refusal(work.fit(run, work.new("saved")), run)
    return message, work.finish(run)


def export_to(work):
    """Exports to a read-only folder."""
    saved = work.new("saved")
    saved.mkdir()
    arguments = [f"--model_dir={work.undisturbed}", f"--saved_models={saved}"]
    with mounted.read_only(saved):
        message = refusal(work.start("export", *arguments), saved)
    return message, "nothing written"


def export_from(work):
    """Exports a run in a read-only folder, which needs no write access."""
    run, saved = work.copy(), work.new("saved")
    with mounted.read_only(run):
        arguments = [f"--model_dir={run}", f"--saved_models={saved}"]
        process = work.start("export", *arguments)
        if process.wait() != 0:
            raise FailedError(f"not exported: {process.errors[-300:]}")
    work.must_be_versions(saved / "csv")
    return "the folder of the version", "bit-equal"


def evaluate(work):
    """Evaluates a run in a read-only folder, which cannot cache features."""
    run, path = work.copy_of(work.evaluated), work.new("result.json")
    for cached in (run / "outputs").iterdir():
        cached.unlink()
    with mounted.read_only(run):
        process = work.evaluate(run, path)
        if process.wait() != 0:
            raise FailedError(f"not evaluated: {process.errors[-300:]}")
    messages = [line for line in process.errors.splitlines() if "not kept" in line]
    if not messages or read_metrics(path) != work.metrics:
        raise FailedError(f"different metrics, or no message: {process.errors[-300:]}")
    return messages[0], "metrics bit-equal"


FAULT = "read-only folder"
CASES = (
    Case(FAULT, "fit.py: a new run", new_run),
    Case(FAULT, "fit.py --resume: a run", begun_run),
    Case(FAULT, "export.py: saved_models", export_to),
    Case(FAULT, "export.py: the run", export_from),
    Case(FAULT, "evaluate.py: the run", evaluate),
)
