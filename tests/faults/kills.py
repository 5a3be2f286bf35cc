"""SIGKILL at random moments."""

import collections
import signal
import threading
import time

from tqdm import tqdm

from tests.faults.bench import must_be_readable, must_be_whole, versions
from tests.faults.case import Case, NotHeldError

MOST_LIVES = 20  # a run, so that one that makes no headway does not go on for ever


class Watch:
    """A thread that looks for half versions as a server does, all the time."""

    def __init__(self, folder):
        self.folder, self.seen, self.error = folder, set(), None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        if self.error:
            raise self.error

    def _look(self):
        while not self.ended.wait(0.002) and not self.error:
            for version in set(versions(self.folder)) - self.seen:
                try:
                    must_be_whole(version)
                except NotHeldError as error:
                    self.error = error
                self.seen.add(version)


def training(bench):
    """Kills fit.py over its whole life, and resumes it each time."""
    length = _length(bench.fit(bench.new("timed"), bench.new("saved")))
    phases, runs = collections.Counter(), 0
    bar = tqdm(total=bench.kills, desc="kills of fit.py", leave=False)
    while phases.total() < bench.kills:
        run, saved = bench.new("killed"), bench.new("saved")
        lives, finished = 0, False
        with Watch(saved / "csv"):
            while not finished:
                lives += 1
                if lives > MOST_LIVES:
                    raise NotHeldError(f"no end after {MOST_LIVES} lives: {run}")
                life = bench.fit(run, saved)
                if phases.total() < bench.kills:
                    life.wait(bench.random.uniform(0, length))
                    killed = life.kill() == -signal.SIGKILL
                else:
                    killed = False
                if killed:
                    phases[_phase(life, run)] += 1
                    bar.update()
                    must_be_readable(run)
                elif life.wait() == 0:
                    finished = True
                else:
                    raise NotHeldError(f"does not go on: {life.errors[-300:]}")
        bench.must_equal(run, saved)
        runs += 1
    bar.close()
    moments = ", ".join(f"{count} in {phase}" for phase, count in phases.items())
    return moments, (
        f"{phases.total()} of {bench.kills} kills end bit-equal, in {runs} runs; "
        "no half version visible"
    )


def exporting(bench):
    """Kills export.py over its whole life, and starts it again each time."""
    saved = bench.new("saved")
    arguments = [f"--model_dir={bench.undisturbed}", f"--saved_models={saved}"]
    length = _length(bench.start("export", *arguments))
    kills = ends = 0
    bar = tqdm(total=bench.kills, desc="kills of export.py", leave=False)
    with Watch(saved / "csv"):
        while kills < bench.kills:
            life = bench.start("export", *arguments)
            life.wait(bench.random.uniform(0, length))
            if life.kill() == -signal.SIGKILL:
                kills += 1
                bar.update()
            elif life.wait() == 0:
                ends += 1
            else:
                raise NotHeldError(f"does not go on: {life.errors[-300:]}")
            for version in versions(saved / "csv"):
                must_be_whole(version)
        if bench.start("export", *arguments).wait() != 0:
            raise NotHeldError("no export after the last kill")
    bar.close()
    bench.must_be_versions(saved / "csv")
    left = [path.name for path in (saved / "csv").glob("partial-*")]
    if left:
        raise NotHeldError(f"left over: {', '.join(left)}")
    count = len(versions(saved / "csv"))
    return f"{count} versions, {ends + 2} by exports that ended", (
        f"{kills} of {bench.kills} kills leave whole, bit-equal versions only; what "
        "they had begun is removed"
    )


def _length(life):
    start = time.monotonic()
    if life.wait() != 0:
        raise NotHeldError(f"ends without a fault: {life.errors[-300:]}")
    return time.monotonic() - start


def _phase(life, run):
    printed = life.output
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
