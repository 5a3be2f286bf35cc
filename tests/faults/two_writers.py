"""Two processes that write to the same folder."""

from tests.faults.case import Case, FailedError
from tests.faults.workspace import refusal, versions


def training(work):
    """Starts fit.py on a run that another fit.py is training."""
    run, saved = work.new("shared"), work.new("saved")
    first = work.fit(run, saved)
    first.wait_for("epochs done")
    message = refusal(
        work.fit(run, work.new("saved")), run, f"process {first.process.pid}"
    )
    if first.wait() != 0:
        raise FailedError(f"the first fails: {first.errors[-300:]}")
    work.must_equal(run, saved)
    return message, "the second refuses, the first ends bit-equal"


def exporting(work):
    """Exports a run twice at the same time under one name."""
    saved = work.new("saved")
    arguments = [f"--model_dir={work.undisturbed}", f"--saved_models={saved}"]
    processes = [work.start("export", *arguments) for _ in range(2)]
    statuses = [process.wait() for process in processes]
    if statuses != [0, 0]:
        errors = "".join(process.errors[-200:] for process in processes)
        raise FailedError(f"{statuses}: {errors}")
    names = sorted(version.name for version in versions(saved / "csv"))
    if names != ["1", "2"]:
        raise FailedError(f"versions {names}")
    work.must_be_versions(saved / "csv")
    return "the folder of each version", "both end, as versions 1 and 2"


CASES = (
    Case("two fit.py on one output folder", "training", training),
    Case("two export.py under one name", "export", exporting),
)
