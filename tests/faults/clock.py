"""Clocks that jump, by libfaketime; what counts seconds since boot goes on as it is."""

import functools
import glob

from tests.faults import program
from tests.faults.bench import figures
from tests.faults.case import Case, NotHeldError, NotPossibleError

LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def starting(bench, time):
    """Trains on a machine whose clock stands elsewhere."""
    run, saved = bench.new("run"), bench.new("saved")
    _end(_fit(bench, run, saved, _environment(bench, time)[0]))
    bench.must_equal(run, saved)
    return "", "bit-equal"


def jumping(bench, times):
    """Lets the clock jump at the beginning of each step."""
    run, saved = bench.new("run"), bench.new("saved")
    environment, clock = _environment(bench, "+0")
    process = _fit(bench, run, saved, environment)
    times, printed = iter(times), []
    for line in process.stdout:
        printed.append(line)
        if "epochs done" in line:
            clock.write_text(next(times))
    _end(process, printed)
    bench.must_equal(run, saved)
    return "", "bit-equal"


def resuming(bench):
    """Goes on with a run that the clock says will be begun in ten years."""
    run, saved = bench.new("run"), bench.new("saved")
    process = _fit(bench, run, saved, _environment(bench, "+10y")[0])
    for line in process.stdout:
        if "step2:" in line:
            process.kill()
    process.communicate()
    if (run / "model.weights.h5").exists():
        raise NotHeldError("was not killed in time")
    return "", bench.finish(run)


def evaluating(bench):
    """Reads kept features and SVMs ten years before they were written."""
    run, path = bench.copy_of(bench.evaluated), bench.new("result.json")
    kept = {p: p.stat().st_mtime_ns for p in run.rglob("*.npz")}
    arguments = [f"--model_dir={run}", "--views=5", "--svm", f"--output={path}"]
    _end(program.alone("evaluate", arguments, _environment(bench, "-10y")[0]))
    if {p: p.stat().st_mtime_ns for p in run.rglob("*.npz")} != kept:
        raise NotHeldError("what was kept is computed again")
    if figures(path) != bench.figures:
        raise NotHeldError("other figures")
    return "", "read, not computed again; figures bit-equal"


def _environment(bench, time):
    found = [path for pattern in LIBRARIES for path in glob.glob(pattern)]
    if not found:
        raise NotPossibleError("no libfaketime (apt install faketime)")
    clock = bench.new("clock")
    clock.write_text(time)
    return {
        "LD_PRELOAD": found[0],
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        # The times of files are the disk's, which keeps its clock.
        "NO_FAKE_STAT": "1",
    }, clock


def _fit(bench, run, saved, environment):
    return program.alone("fit", bench.fitting(run, saved, "--resume"), environment)


def _end(process, printed=()):
    said = "".join(printed) + process.communicate()[0]
    if process.returncode:
        raise NotHeldError(f"status {process.returncode}: {said[-300:]}")


FAULT = "clock"
CASES = (
    *(
        Case(FAULT, f"fit.py in {year}", functools.partial(starting, time=f"@{date}"))
        for year, date in ((1970, "1970-01-02 00:00:00"), (2100, "2100-01-01 00:00:00"))
    ),
    Case(
        FAULT,
        "fit.py, jumps 10 years on, then 20 back",
        functools.partial(jumping, times=("+10y", "-10y", "+0")),
    ),
    Case(FAULT, "fit.py --resume before the run was begun", resuming),
    Case(FAULT, "evaluate.py before its features were kept", evaluating),
)
