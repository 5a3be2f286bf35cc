"""Wrong and jumping clocks, by libfaketime; the monotonic clock is unchanged."""

import functools
import glob

from tests.faults import program
from tests.faults.case import Case, FailedError, SkippedError
from tests.faults.workspace import read_metrics

LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def starting(work, time):
    """Trains with a wrong clock."""
    run, saved = work.new("run"), work.new("saved")
    _end(_fit(work, run, saved, _environment(work, time)[0]))
    work.must_equal(run, saved)
    return "", "bit-equal"


def jumping(work, times):
    """Trains while the clock jumps at the beginning of each step."""
    run, saved = work.new("run"), work.new("saved")
    environment, clock = _environment(work, "+0")
    process = _fit(work, run, saved, environment)
    times, printed = iter(times), []
    for line in process.stdout:
        printed.append(line)
        if "epochs done" in line:
            clock.write_text(next(times))
    _end(process, printed)
    work.must_equal(run, saved)
    return "", "bit-equal"


def resuming(work):
    """Resumes a run whose start was ten years later by the clock."""
    run, saved = work.new("run"), work.new("saved")
    process = _fit(work, run, saved, _environment(work, "+10y")[0])
    for line in process.stdout:
        if "step2:" in line:
            process.kill()
    process.communicate()
    if (run / "model.weights.h5").exists():
        raise FailedError("was not killed in time")
    return "", work.finish(run)


def evaluating(work):
    """Evaluates with cached features and SVMs ten years before they were written."""
    run, path = work.copy_of(work.evaluated), work.new("result.json")
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*.npz")}
    arguments = [f"--model_dir={run}", "--views=5", "--svm", f"--output={path}"]
    _end(program.start_script("evaluate", arguments, _environment(work, "-10y")[0]))
    if {p: p.stat().st_mtime_ns for p in run.rglob("*.npz")} != before:
        raise FailedError("cached files were computed again")
    if read_metrics(path) != work.metrics:
        raise FailedError("different metrics")
    return "", "read, not computed again; metrics bit-equal"


def _environment(work, time):
    found = [path for pattern in LIBRARIES for path in glob.glob(pattern)]
    if not found:
        raise SkippedError("no libfaketime (apt install faketime)")
    clock = work.new("clock")
    clock.write_text(time)
    return {
        "LD_PRELOAD": found[0],
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        # File times come from the unchanged clock of the system.
        "NO_FAKE_STAT": "1",
    }, clock


def _fit(work, run, saved, environment):
    return program.start_script(
        "fit", work.fitting(run, saved, "--resume"), environment
    )


def _end(process, printed=()):
    output = "".join(printed) + process.communicate()[0]
    if process.returncode:
        raise FailedError(f"status {process.returncode}: {output[-300:]}")


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
