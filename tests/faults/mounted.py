"""Mounts full and read-only file systems, where the machine allows it."""

import contextlib
import subprocess

from tests.faults.case import SkippedError


@contextlib.contextmanager
def tmpfs(folder, size):
    """Mounts an empty file system of `size` bytes on a new folder."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", folder)
    try:
        yield folder
    finally:
        _run("umount", "--lazy", folder)


def fill(folder):
    """Fills a `tmpfs` with a file and returns its path."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def resize(folder, size):
    """Changes the size of a `tmpfs`."""
    _mount("-o", f"remount,size={size}", folder)


@contextlib.contextmanager
def read_only(folder):
    """Makes a folder read-only, even for root."""
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
        raise SkippedError(f"nothing can be mounted here ({why})")


def _run(*arguments):
    try:
        return subprocess.run(
            [*map(str, arguments)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
