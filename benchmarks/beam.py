r"""Predicts for many images by `predict_beam.py`, which is killed on the way.

    python -m benchmarks.beam --model_dir saved_models/digits/1 --work runs/beam \
        --images runs/digits/images

The images given are repeated, and one of a hundred is broken. The pipeline is killed
(SIGKILL, all of its processes) when an eighth and a quarter of the shards are finished,
and started again. Afterwards every line of the list must have been answered exactly
once: by a record, or where it was broken by the reason. Speed is counted from the first
finished shard to the last of the run that was not killed, beside `predict.py` from its
first batch to its last line, over `--plain` readable images. Memory is the sum of the
processes' proportional set sizes (what they share is counted once) in the same time;
its growth is the median of the last third of the samples over that of the middle third.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

from ram_tf.cli import command
from ram_tf.serving.predict_files import find_images

SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts"
BROKEN_EVERY = 100
SECONDS_BETWEEN_SAMPLES = 0.5
FLAT = 1.05  # largest growth of memory


def write_list(images, count, work):
    """Writes the list: images repeated, and one of a hundred broken.

    Args:
        images: Paths of readable images.
        count: Lines of the list.
        work: Folder for the list and the broken files.

    Returns:
        The path of the list, and a dict from each broken path to its reason.
    """
    whole = pathlib.Path(images[0]).read_bytes()
    broken = {
        str(work / "half.png"): ("unreadable", whole[: len(whole) // 2]),
        str(work / "text.png"): ("unreadable", b"this is text"),
        str(work / "empty.png"): ("empty", b""),
        str(work / "none.png"): ("missing", None),
    }
    for path, (_, content) in broken.items():
        if content is not None:
            pathlib.Path(path).write_bytes(content)
    lines = [
        list(broken)[i // BROKEN_EVERY % len(broken)]
        if i % BROKEN_EVERY == BROKEN_EVERY - 1
        else str(images[i % len(images)])
        for i in range(count)
    ]
    listed = work / "list.txt"
    listed.write_text("".join(f"{line}\n" for line in lines))
    return listed, {path: reason for path, (reason, _) in broken.items()}


def account(listed, reasons, folder):
    """Compares a finished folder with its list, shard by shard.

    Args:
        listed: The path of the list.
        reasons: Of the broken paths.
        folder: Of the batch, in JSON lines.

    Returns:
        How many lines of the list have a record, and how many a reason.

    Raises:
        ValueError: A line was answered not exactly once, or in the wrong way.
    """
    expected = collections.Counter(
        (line, reasons.get(line)) for line in listed.read_text().splitlines()
    )
    found = collections.Counter()
    for path in folder.glob("*-of-*.jsonl"):
        for line in path.read_text().splitlines():
            each = json.loads(line)
            found[each["image"], each.get("reason")] += 1
    if found != expected:
        raise ValueError(
            "The images do not add up. Expected each exactly once. Received: "
            f"{(expected - found).total()} missing, {(found - expected).total()} too "
            "many"
        )
    unread = sum(number for (_, reason), number in found.items() if reason)
    return found.total() - unread, unread


def memory(group):
    """The memory of a group of processes in MiB: the sum of proportional set sizes."""
    total = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == group:
                rollup = (process / "smaps_rollup").read_text()
                total += int(rollup.split("\nPss:")[1].split()[0])
        except (OSError, IndexError):
            continue  # It has ended in the meantime.
    return total / 1024


def start(command, folder, kill_at=None):
    """Runs a command as a group of processes until it ends or is killed.

    Args:
        command: Of `predict_beam.py`.
        folder: Of the batch.
        kill_at: Kills the group when so many shards are finished.

    Returns:
        Samples: seconds, MiB, finished shards.

    Raises:
        ValueError: It failed, or ended before it could be killed.
    """
    begin, samples = time.monotonic(), []
    started = subprocess.Popen(command, start_new_session=True)
    try:
        while started.poll() is None:
            finished = len(list(folder.glob("part-*")))
            now = time.monotonic() - begin
            samples.append((now, memory(started.pid), finished))
            if kill_at is not None and finished >= max(kill_at, 1):
                return samples
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        if started.returncode or kill_at is not None:
            raise ValueError(
                "The pipeline did not go as planned. Expected status 0 or a kill. "
                f"Received: status {started.returncode}"
            )
        return samples
    finally:
        stop(started)


def stop(started):
    """Kills a process with its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def steady(samples, shard_size):
    """Speed and memory between the first and the last shard that a run finishes.

    Args:
        samples: Of `start`.
        shard_size: Images a shard.

    Returns:
        Images a second, the highest MiB, and the growth of memory.

    Raises:
        ValueError: No two samples differ by a shard.
    """
    before, after = samples[0][2], samples[-1][2]
    inside = [each for each in samples if before < each[2] < after]
    inside.append(next(each for each in samples if each[2] == after))
    (begin, _, first), (end, _, last) = inside[0], inside[-1]
    if len(inside) < 3 or first == last:
        raise ValueError(
            "The run is too short to be measured. Expected more images or smaller "
            f"shards. Received: {after - before} shards in {len(inside)} samples"
        )
    third = len(inside) // 3
    middle, late = (
        statistics.median(mib for _, mib, _ in part)
        for part in (inside[third : 2 * third], inside[-third:])
    )
    highest = max(mib for _, mib, _ in inside)
    return (last - first) * shard_size / (end - begin), highest, late / middle


def plain(model_dir, images, batch_size):
    """The images a second of `predict.py`, from its first line to its last."""
    command = [sys.executable, str(SCRIPTS / "predict.py"), "--model_dir", model_dir]
    command += ["--batch_size", str(batch_size), "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        started.stdin.write("".join(f"{path}\n" for path in images))
        started.stdin.close()
        # A batch's lines come together: the first batch is left out.
        times = [time.monotonic() for _ in started.stdout][batch_size - 1 :]
    return (len(times) - 1) / (times[-1] - times[0])


def measured(arguments, listed, reasons, processes):
    """Does the whole list, killed on the way, and prints what it took.

    Returns:
        The growth of memory.
    """
    folder = arguments.work / f"by-{processes}"
    command = [sys.executable, str(SCRIPTS / "predict_beam.py")]
    command += ["--model_dir", arguments.model_dir, "--list", str(listed)]
    command += ["--output_dir", str(folder)]
    command += ["--shard_size", str(arguments.shard_size)]
    command += ["--batch_size", str(arguments.batch_size)]
    if processes > 1:
        command += ["--direct_num_workers", str(processes)]
        command += ["--direct_running_mode", "multi_processing"]
    shards = -(-arguments.count // arguments.shard_size)
    # The kills come early, so that the last start is long enough to be measured.
    for kill in range(1, arguments.kills + 1):
        start(command, folder, kill * shards // (4 * arguments.kills))
    samples = start(command, folder)
    records, unread = account(listed, reasons, folder)
    speed, highest, growth = steady(samples, arguments.shard_size)
    print(
        f"{processes} processes: {speed:.1f} images a second, {highest:.0f} MiB at "
        f"most, grown by {growth:.3f}; killed {arguments.kills} times, {records} "
        f"records + {unread} unread = {records + unread} of {arguments.count}",
        flush=True,
    )
    return growth


def parse(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--images", nargs="+", required=True, help="files, folders")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--plain", type=int, default=2_000, help="images; %(default)s")
    parser.add_argument("--shard_size", type=int, default=250)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kills", type=int, default=2, help="on the way; %(default)s")
    return parser.parse_args(argv)


def main(argv):
    """Measures, accounts and prints; fails where images are lost or memory grows."""
    arguments = parse(argv)
    arguments.work.mkdir(parents=True)
    images = find_images(arguments.images)
    listed, reasons = write_list(images, arguments.count, arguments.work)
    repeated = [images[i % len(images)] for i in range(arguments.plain)]
    rate = plain(arguments.model_dir, repeated, arguments.batch_size)
    print(f"predict.py: {rate:.1f} images a second", flush=True)
    growths = [
        measured(arguments, listed, reasons, processes)
        for processes in arguments.processes
    ]
    if max(growths) > FLAT:
        raise ValueError(f"Memory is not flat. Expected a growth of {FLAT} or less.")
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
