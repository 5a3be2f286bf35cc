"""Full disks: a limit on the size of files, and small file systems."""

import functools
import shutil

from tests.faults import mounted
from tests.faults.case import Case, FailedError
from tests.faults.workspace import (
    error_message,
    must_be_readable,
    read_metrics,
    refusal,
    versions,
)

AMPLE = 64 << 20
STEP_2 = ("model.weights.h5", "step2/checkpoint.npz", "step2/best.weights.h5")


def too_large(work, name, without=()):
    """Limits the size of files to one byte less than a file of the run has."""
    run = work.copy(*without) if without else work.new("run")
    process = work.fit(run, work.new("saved"), largest=work.size(name) - 1)
    message = refusal(process, run / name)
    # A smaller checkpoint of an earlier epoch may exist.
    must_be_readable(run)
    return message, work.finish(run)


def full(work, share):
    """Trains on a disk with a share of the space that the run needs."""
    needed = sum(p.stat().st_size for p in work.undisturbed.rglob("*") if p.is_file())
    with mounted.tmpfs(work.new("disk"), int(share * needed)) as disk:
        run = disk / "run"
        message = refusal(work.fit(run, work.new("saved")), run, "No space left")
        mounted.resize(disk, AMPLE)
        return message, work.finish(run)


def none_at_all(work):
    """Starts a run on a full disk."""
    with mounted.tmpfs(work.new("disk"), AMPLE) as disk:
        filler, run = mounted.fill(disk), disk / "run"
        message = refusal(work.fit(run, work.new("saved")), run, "No space left")
        filler.unlink()
        return message, work.finish(run)


def logs(work):
    """Trains with TensorBoard's logs on a full disk."""
    with mounted.tmpfs(work.new("logs"), AMPLE) as disk:
        filler = mounted.fill(disk)
        run, saved = work.new("run"), work.new("saved")
        (run / "step2").mkdir(parents=True)
        (run / "step2" / "logs").symlink_to(disk)
        process = work.fit(run, saved)
        if process.wait() != 0:
            # The log of training metrics is written by Keras.
            message = refusal(process, run / "step2" / "logs")
            filler.unlink()
            return message, work.finish(run)
        lines = process.errors.splitlines()
        messages = [line for line in lines if line.startswith("not written")]
        if not messages or str(run / "step2" / "logs") not in messages[0]:
            raise FailedError("the logs are not named")
        work.must_equal(run, saved)
        return messages[0], "goes on without; bit-equal"


def export_limited(work):
    """Limits the size of files to less than the variables of a SavedModel."""
    saved = work.new("saved")
    size = (work.version / "variables/variables.data-00000-of-00001").stat().st_size
    return _export(work, saved, lambda: None, largest=size - 1)


def export_full(work):
    """Exports to a disk that is too small."""
    with mounted.tmpfs(work.new("disk"), 200 << 10) as disk:
        return _export(work, disk / "saved", lambda: mounted.resize(disk, AMPLE))


def _export(work, saved, make_room, largest=None):
    arguments = [f"--model_dir={work.undisturbed}", f"--saved_models={saved}"]
    message = refusal(work.start("export", *arguments, largest=largest), saved / "csv")
    if [*(saved / "csv").iterdir()]:
        raise FailedError("files of the version are left over")
    make_room()
    again = work.start("export", *arguments)
    if again.wait() != 0:
        raise FailedError(f"no export with enough space: {again.errors[-300:]}")
    work.must_be_versions(saved / "csv")
    if len(versions(saved / "csv")) != 1:
        raise FailedError("more than one version")
    return message, "nothing visible; with room: bit-equal"


def outputs(work):
    """Limits the size of files to less than the cached outputs of a model."""
    run, path = work.copy(), work.new("result.json")
    process = work.evaluate(run, path, largest=16 << 10)
    if process.wait() != 0:
        raise FailedError(f"the evaluation fails: {error_message(process.errors)}")
    messages = [line for line in process.errors.splitlines() if "not kept" in line]
    if not messages or str(run / "outputs") not in messages[0]:
        raise FailedError(f"does not name the file: {process.errors[-300:]}")
    if read_metrics(path) != work.metrics:
        raise FailedError("different metrics")
    return messages[0], "the evaluation goes on without; metrics bit-equal"


def svms(work):
    """Evaluates on a disk without space for the fitted SVMs."""
    copied, path = work.copy_of(work.evaluated, "svm.npz"), work.new("result.json")
    with mounted.tmpfs(work.new("disk"), AMPLE) as disk:
        run = shutil.copytree(copied, disk / "run")
        filler = mounted.fill(disk)
        message = refusal(work.evaluate(run, path), run / "svm.npz", "No space left")
        if (run / "svm.npz").exists() or path.exists():
            raise FailedError("incomplete file")
        filler.unlink()
        process = work.evaluate(run, path)
        if process.wait() != 0 or read_metrics(path) != work.metrics:
            raise FailedError(f"different metrics: {process.errors[-300:]}")
        return message, "with room: metrics bit-equal"


def result(work):
    """Evaluates with `--output` on a full disk."""
    with mounted.tmpfs(work.new("disk"), AMPLE) as disk:
        filler, path = mounted.fill(disk), disk / "result.json"
        message = refusal(work.evaluate(work.evaluated, path), path, "No space left")
        if path.exists():
            raise FailedError("incomplete file of results")
        filler.unlink()
        process = work.evaluate(work.evaluated, path)
        if process.wait() != 0 or read_metrics(path) != work.metrics:
            raise FailedError(f"different metrics: {process.errors[-300:]}")
        return message, "with room: metrics bit-equal"


LIMIT, ENOSPC = "file larger than the disk has room for", "disk full"
CASES = (
    *(
        Case(LIMIT, name, functools.partial(too_large, name=name))
        for name in ("step1/best.weights.h5", "step1/checkpoint.npz")
    ),
    *(
        Case(LIMIT, name, functools.partial(too_large, name=name, without=without))
        for name, without in (
            ("step2/best.weights.h5", STEP_2),
            ("step2/checkpoint.npz", STEP_2),
            ("model.weights.h5", ("model.weights.h5",)),
            ("pooled.weights.h5", ("pooled.weights.h5", *STEP_2)),
        )
    ),
    Case(LIMIT, "export.py: variables", export_limited),
    Case(LIMIT, "evaluate.py: cached features", outputs),
    Case(ENOSPC, "fit.py: nothing can be written", none_at_all),
    *(
        Case(
            ENOSPC,
            f"fit.py: {share:.0%} of the room",
            functools.partial(full, share=share),
        )
        for share in (0.1, 0.4, 0.7, 0.95)
    ),
    Case(ENOSPC, "fit.py: TensorBoard's logs", logs),
    Case(ENOSPC, "export.py", export_full),
    Case(ENOSPC, "evaluate.py: svm.npz", svms),
    Case(ENOSPC, "evaluate.py --output", result),
)
