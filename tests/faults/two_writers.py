"""Two processes at one place."""

from tests.faults.bench import refused, versions
from tests.faults.case import Case, NotHeldError


def training(bench):
    """Starts fit.py on a run that another fit.py is at work on."""
    run, saved = bench.new("shared"), bench.new("saved")
    first = bench.fit(run, saved)
    first.wait_for("epochs done")
    said = refused(
        bench.fit(run, bench.new("saved")), run, f"process {first.process.pid}"
    )
    if first.wait() != 0:
        raise NotHeldError(f"the first is disturbed: {first.errors[-300:]}")
    bench.must_equal(run, saved)
    return said, "the second refuses, the first ends bit-equal"


def exporting(bench):
    """Exports a run twice at once under one name."""
    saved = bench.new("saved")
    arguments = [f"--model_dir={bench.undisturbed}", f"--saved_models={saved}"]
    lives = [bench.start("export", *arguments) for _ in range(2)]
    said = [life.wait() for life in lives]
    if said != [0, 0]:
        raise NotHeldError(f"{said}: {lives[0].errors[-200:]}{lives[1].errors[-200:]}")
    names = sorted(version.name for version in versions(saved / "csv"))
    if names != ["1", "2"]:
        raise NotHeldError(f"versions {names}")
    bench.must_be_versions(saved / "csv")
    return "the folder of each version", "both end, as versions 1 and 2"


CASES = (
    Case("two fit.py on one output folder", "training", training),
    Case("two export.py under one name", "export", exporting),
)
