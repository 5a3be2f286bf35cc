"""File systems that are full or read-only, where this machine lets us mount some."""

import contextlib
import subprocess

from tests.faults.case import NotPossibleError


@contextlib.contextmanager
def tmpfs(folder, size):
    """Mounts an empty file system of some bytes on a new folder."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", folder)
    try:
        yield folder
    finally:
        _run("umount", "--lazy", folder)


def fill(folder):
    """Leaves a `tmpfs` no room at all, and returns the file that takes it."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def resize(folder, size):
    """Gives a `tmpfs` another size."""
    _mount("-o", f"remount,size={size}", folder)


@contextlib.contextmanager
def read_only(folder):
    """Makes a folder read-only, for root as well."""
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,bind,ro", folder)
        yield folder
    finally:
        _run("umount", "--lazy", folder)


def _mount(*arguments):
    done = _run("mount", *arguments)
    if done is None or done.returncode:
        why = "no program mount" if done is None else done.stderr.strip()
        raise NotPossibleError(f"nothing can be mounted here ({why})")


def _run(*arguments):
    try:
        return subprocess.run(
            [*map(str, arguments)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
