"""SIGKILL at random moments."""

import collections
import signal
import threading
import time

from tqdm import tqdm

from tests.faults.case import Case, FailedError
from tests.faults.workspace import must_be_readable, must_be_whole, versions

MAX_STARTS = 20  # of a run; more mean that it makes no progress


class Watch:
    """A thread that keeps checking that all visible versions are complete."""

    def __init__(self, folder):
        self.folder, self.checked, self.error = folder, set(), None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._check)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        if self.error:
            raise self.error

    def _check(self):
        while not self.ended.wait(0.002) and not self.error:
            for version in set(versions(self.folder)) - self.checked:
                try:
                    must_be_whole(version)
                except FailedError as error:
                    self.error = error
                self.checked.add(version)


def training(work):
    """Kills fit.py at random moments, and resumes it each time."""
    length = _length(work.fit(work.new("timed"), work.new("saved")))
    phases, runs = collections.Counter(), 0
    bar = tqdm(total=work.kills, desc="kills of fit.py", leave=False)
    while phases.total() < work.kills:
        run, saved = work.new("killed"), work.new("saved")
        starts, finished = 0, False
        with Watch(saved / "csv"):
            while not finished:
                starts += 1
                if starts > MAX_STARTS:
                    raise FailedError(f"no end after {MAX_STARTS} starts: {run}")
                process = work.fit(run, saved)
                if phases.total() < work.kills:
                    process.wait(work.random.uniform(0, length))
                    killed = process.kill() == -signal.SIGKILL
                else:
                    killed = False
                if killed:
                    phases[_phase(process, run)] += 1
                    bar.update()
                    must_be_readable(run)
                elif process.wait() == 0:
                    finished = True
                else:
                    raise FailedError(f"cannot be resumed: {process.errors[-300:]}")
        work.must_equal(run, saved)
        runs += 1
    bar.close()
    moments = ", ".join(f"{count} in {phase}" for phase, count in phases.items())
    return moments, (
        f"{phases.total()} of {work.kills} kills end bit-equal, in {runs} runs; "
        "no incomplete version visible"
    )


def exporting(work):
    """Kills export.py at random moments, and starts it again each time."""
    saved = work.new("saved")
    arguments = [f"--model_dir={work.undisturbed}", f"--saved_models={saved}"]
    length = _length(work.start("export", *arguments))
    kills = ends = 0
    bar = tqdm(total=work.kills, desc="kills of export.py", leave=False)
    with Watch(saved / "csv"):
        while kills < work.kills:
            process = work.start("export", *arguments)
            process.wait(work.random.uniform(0, length))
            if process.kill() == -signal.SIGKILL:
                kills += 1
                bar.update()
            elif process.wait() == 0:
                ends += 1
            else:
                raise FailedError(f"cannot be resumed: {process.errors[-300:]}")
            for version in versions(saved / "csv"):
                must_be_whole(version)
        if work.start("export", *arguments).wait() != 0:
            raise FailedError("no export after the last kill")
    bar.close()
    work.must_be_versions(saved / "csv")
    partial = [path.name for path in (saved / "csv").glob("partial-*")]
    if partial:
        raise FailedError(f"left over: {', '.join(partial)}")
    count = len(versions(saved / "csv"))
    return f"{count} versions, {ends + 2} by completed exports", (
        f"{kills} of {work.kills} kills leave only complete, bit-equal versions; "
        "partial ones are removed"
    )


def _length(process):
    start = time.monotonic()
    if process.wait() != 0:
        raise FailedError(f"fails without a kill: {process.errors[-300:]}")
    return time.monotonic() - start


def _phase(process, run):
    printed = process.output
    if "mAP_min10" in printed:
        return "the export"
    if (run / "model.weights.h5").exists():
        return "calibration and evaluation"
    steps = [
        line.partition(":")[0] for line in printed.splitlines() if "epochs done" in line
    ]
    return steps[-1].strip() if steps else "the start"


CASES = (
    Case("SIGKILL", "fit.py, at random moments", training),
    Case("SIGKILL", "export.py, at random moments", exporting),
)
