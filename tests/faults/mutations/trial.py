"""Tries a planted fault: changes a copy of the files and runs a test there."""

import contextlib
import multiprocessing
import os
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).parents[3]
# What the named tests read.
COPIED = ("ram_tf", "tests", "scripts", "fuzz", "docs", "setup.cfg", "pyproject.toml")
TIMEOUT = 600  # seconds after which a test has not noticed a fault
# Loading pytest's plugins takes seconds, and no test needs one.
PYTEST = (
    *("-x", "-q", "--color=no", "-p", "no:cacheprovider"),
    "--disable-plugin-autoload",
)

# Loading TensorFlow takes most of the time of a test. Processes are therefore forked
# from a server that can load it first.
_context = multiprocessing.get_context("forkserver")


def load_first():
    """Makes the server of later processes load what is in `loaded`."""
    _context.set_forkserver_preload(["tests.faults.mutations.loaded"])


class Copy:
    """A copy of the files, in which faults are planted.

    Args:
        folder: The folder of the copy, which is created.
        root: The folder to copy; of the repository by default.
    """

    def __init__(self, folder, root=ROOT):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, self.folder / name, ignore=ignored)
            elif (root / name).exists():
                shutil.copy(root / name, self.folder / name)

    def run(self, tests, timeout=None):
        """Runs tests in a process of their own.

        Args:
            tests: Tests as `path::function`.
            timeout: Seconds after which the process is killed; None for never.

        Returns:
            Pytest's exit status, None after the timeout, and what it printed.
        """
        log = self.folder / "log.txt"
        process = _context.Process(target=_run, args=(str(self.folder), tests, log))
        process.start()
        try:
            process.join(timeout)
        finally:
            if process.is_alive():
                process.kill()
                process.join()
        status = process.exitcode
        return (None if status < 0 else status), log.read_text(errors="replace")

    @contextlib.contextmanager
    def planted(self, fault):
        """Changes a file as long as the block runs, and yields whether it could."""
        path = self.folder / fault.file
        whole = path.read_text("utf-8") if path.is_file() else ""
        changed = fault.applied_to(whole)
        if changed is None:
            yield False
            return
        path.write_text(changed, "utf-8")
        try:
            yield True
        finally:
            path.write_text(whole, "utf-8")


def outcome(fault, copy):
    """Tries a fault in a `Copy`.

    Returns:
        What happened, and what pytest printed:
        "caught": the test failed, by an assertion or an error in it;
        "missed": the test passed;
        "stale": the text to change is not in the file, or more than once;
        "broken": there is no such test, it could not be collected, or it did not end;
    """
    with copy.planted(fault) as changed:
        if not changed:
            return "stale", f"not once in {fault.file}: {fault.old}"
        status, printed = copy.run([fault.test], TIMEOUT)
    if status == 0:
        return "missed", printed
    # Pytest's line for a test that could not be collected names its file only.
    failed = re.search(rf"^(FAILED|ERROR) {re.escape(fault.test)}\b", printed, re.M)
    return ("caught" if failed else "broken"), printed


def _run(folder, tests, log):
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.truncate(log, 0)
    os.chdir(folder)
    # Compiled code of a change could be taken for that of another one, whose file has
    # the same length and was written in the same second.
    os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path[:] = [folder, *(p for p in sys.path if p not in ("", str(ROOT)))]
    # What was loaded on the way here is that of the original folder.
    for name in list(sys.modules):
        if name.partition(".")[0] in ("ram_tf", "tests"):
            del sys.modules[name]
    import pytest

    raise SystemExit(int(pytest.main([*PYTEST, *tests])))
