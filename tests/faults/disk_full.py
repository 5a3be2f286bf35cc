"""No room on the disk: a limit on the size of files, and a small file system."""

import functools
import shutil

from tests.faults import mounted
from tests.faults.bench import (
    figures,
    must_be_readable,
    refused,
    sentence,
    versions,
)
from tests.faults.case import Case, NotHeldError

AMPLE = 64 << 20
STEP_2 = ("model.weights.h5", "step2/checkpoint.npz", "step2/best.weights.h5")


def too_large(bench, name, without=()):
    """Lets the last bytes of a file of the run find no room."""
    run = bench.copy(*without) if without else bench.new("run")
    life = bench.fit(run, bench.new("saved"), largest=bench.size(name) - 1)
    said = refused(life, run / name)
    # A checkpoint of an earlier epoch, which is smaller, may be there.
    must_be_readable(run)
    return said, bench.finish(run)


def full(bench, share):
    """Gives the whole run a share of the room that it needs."""
    needed = sum(p.stat().st_size for p in bench.undisturbed.rglob("*") if p.is_file())
    with mounted.tmpfs(bench.new("disk"), int(share * needed)) as disk:
        run = disk / "run"
        said = refused(bench.fit(run, bench.new("saved")), run, "No space left")
        mounted.resize(disk, AMPLE)
        return said, bench.finish(run)


def none_at_all(bench):
    """Gives a new run no room even for its settings."""
    with mounted.tmpfs(bench.new("disk"), AMPLE) as disk:
        filler, run = mounted.fill(disk), disk / "run"
        said = refused(bench.fit(run, bench.new("saved")), run, "No space left")
        filler.unlink()
        return said, bench.finish(run)


def logs(bench):
    """Gives TensorBoard's logs no room."""
    with mounted.tmpfs(bench.new("logs"), AMPLE) as disk:
        filler = mounted.fill(disk)
        run, saved = bench.new("run"), bench.new("saved")
        (run / "step2").mkdir(parents=True)
        (run / "step2" / "logs").symlink_to(disk)
        life = bench.fit(run, saved)
        if life.wait() != 0:
            # The log of the training figures is Keras' own.
            said = refused(life, run / "step2" / "logs")
            filler.unlink()
            return said, bench.finish(run)
        said = [s for s in life.errors.splitlines() if s.startswith("not written")]
        if not said or str(run / "step2" / "logs") not in said[0]:
            raise NotHeldError("the logs are not named")
        bench.must_equal(run, saved)
        return said[0], "goes on without; bit-equal"


def export_limited(bench):
    """Lets the variables of a SavedModel find no room."""
    saved = bench.new("saved")
    room = (bench.version / "variables/variables.data-00000-of-00001").stat().st_size
    return _export(bench, saved, lambda: None, largest=room - 1)


def export_full(bench):
    """Exports to a disk that is too small."""
    with mounted.tmpfs(bench.new("disk"), 200 << 10) as disk:
        return _export(bench, disk / "saved", lambda: mounted.resize(disk, AMPLE))


def _export(bench, saved, make_room, largest=None):
    arguments = [f"--model_dir={bench.undisturbed}", f"--saved_models={saved}"]
    said = refused(bench.start("export", *arguments, largest=largest), saved / "csv")
    if [*(saved / "csv").iterdir()]:
        raise NotHeldError("something is left of the version")
    make_room()
    again = bench.start("export", *arguments)
    if again.wait() != 0:
        raise NotHeldError(f"no export with room: {again.errors[-300:]}")
    bench.must_be_versions(saved / "csv")
    if len(versions(saved / "csv")) != 1:
        raise NotHeldError("not one version")
    return said, "nothing visible; with room: bit-equal"


def outputs(bench):
    """Lets what is kept of a model's outputs find no room."""
    run, path = bench.copy(), bench.new("result.json")
    life = bench.evaluate(run, path, largest=16 << 10)
    if life.wait() != 0:
        raise NotHeldError(f"the evaluation ends: {sentence(life.errors)}")
    said = [line for line in life.errors.splitlines() if "not kept" in line]
    if not said or str(run / "outputs") not in said[0]:
        raise NotHeldError(f"does not say what is not kept: {life.errors[-300:]}")
    if figures(path) != bench.figures:
        raise NotHeldError("other figures")
    return said[0], "the evaluation goes on without; figures bit-equal"


def svms(bench):
    """Leaves no room for the SVMs that were fitted."""
    copied, path = bench.copy_of(bench.evaluated, "svm.npz"), bench.new("result.json")
    with mounted.tmpfs(bench.new("disk"), AMPLE) as disk:
        run = shutil.copytree(copied, disk / "run")
        filler = mounted.fill(disk)
        said = refused(bench.evaluate(run, path), run / "svm.npz", "No space left")
        if (run / "svm.npz").exists() or path.exists():
            raise NotHeldError("half a file")
        filler.unlink()
        life = bench.evaluate(run, path)
        if life.wait() != 0 or figures(path) != bench.figures:
            raise NotHeldError(f"not the figures with room: {life.errors[-300:]}")
        return said, "with room: figures bit-equal"


def result(bench):
    """Leaves no room for the figures that were asked for."""
    with mounted.tmpfs(bench.new("disk"), AMPLE) as disk:
        filler, path = mounted.fill(disk), disk / "result.json"
        said = refused(bench.evaluate(bench.evaluated, path), path, "No space left")
        if path.exists():
            raise NotHeldError("half a file of figures")
        filler.unlink()
        life = bench.evaluate(bench.evaluated, path)
        if life.wait() != 0 or figures(path) != bench.figures:
            raise NotHeldError(f"not the figures with room: {life.errors[-300:]}")
        return said, "with room: figures bit-equal"


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
