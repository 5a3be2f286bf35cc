r"""Measures `predict_batch.py` on many images while its processes are killed.

    python -m benchmarks.batch --model_dir saved_models/digits/1 --work runs/batch \
        --images runs/digits/images

The given images are repeated; one in a hundred is broken. With Beam, the pipeline is
killed (SIGKILL, all processes) after an eighth and a quarter of the shards, and
restarted. With Ray, a cluster of a head and of nodes with a CPU each runs on this
machine: it predicts once in peace, and once while a node is killed after a quarter of
the shards and another joins after half of them. Afterwards every line of the list must
have exactly one answer: a record or, for broken images, a reason.

Speed is measured from the first to the last shard of the run that was not killed and,
for comparison, from the first batch of `predict.py` to its last line, over `--plain`
readable images. Memory is the sum of the processes' proportional set sizes (shared
memory is counted once) during the same time, with Ray's own; its growth is the median
of the last third of the samples over that of the middle third.
"""

import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import sys
import time

from benchmarks import processes
from benchmarks.ray_cluster import RayCluster
from ram_tf.cli import command
from ram_tf.serving.image_search import find_images

SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts"
BROKEN_EVERY = 100
SECONDS_BETWEEN_SAMPLES = 0.5
FLAT = 1.05  # largest allowed growth of memory


def write_list(images, count, work):
    """Writes the list of images: repeated, and one in a hundred broken.

    Args:
        images: Paths of readable images.
        count: Number of lines in the list.
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


def count_answers(listed, reasons, folder):
    """Counts the answers in a finished output folder and compares them with the list.

    Args:
        listed: The path of the list.
        reasons: A dict from each broken path to its reason.
        folder: The output folder of `predict_beam.py`, in JSON lines.

    Returns:
        The number of lines with a record, and the number with a reason.

    Raises:
        ValueError: A line does not have exactly one answer, or has a wrong one.
    """
    expected = collections.Counter(
        (line, reasons.get(line)) for line in listed.read_text().splitlines()
    )
    found = collections.Counter()
    for path in folder.glob("*-of-*.jsonl"):
        for line in path.read_text().splitlines():
            answer = json.loads(line)
            found[answer["image"], answer.get("reason")] += 1
    if found != expected:
        raise ValueError(
            "The answers do not match the list. Expected each exactly once. Received: "
            f"{(expected - found).total()} missing, {(found - expected).total()} too "
            "many"
        )
    unread = sum(number for (_, reason), number in found.items() if reason)
    return found.total() - unread, unread


def run_pipeline(command, folder, kill_at=None, cluster=None, events=()):
    """Runs a command until it ends or is killed.

    Args:
        command: The command line of `predict_batch.py`.
        folder: Its output folder.
        kill_at: The number of finished shards at which it is killed, or None.
        cluster: The `RayCluster` that it uses, or None.
        events: Pairs of a number of finished shards and what is called there.

    Returns:
        A list of samples (seconds, MiB, number of finished shards).

    Raises:
        ValueError: The command failed, or ended before it was killed.
    """
    begin, samples, events = time.monotonic(), [], list(events)
    environment = cluster.environment if cluster else None
    started = subprocess.Popen(command, env=environment)
    try:
        while started.poll() is None:
            finished = len(list(folder.glob("part-*")))
            now = time.monotonic() - begin
            nodes = cluster.started if cluster else []
            used = processes.memory([each.pid for each in (started, *nodes)])
            samples.append((now, used, finished))
            if kill_at is not None and finished >= max(kill_at, 1):
                return samples
            while events and finished >= events[0][0]:
                events.pop(0)[1]()
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        if started.returncode or kill_at is not None or events:
            raise ValueError(
                "The pipeline ended unexpectedly. Expected status 0 or a kill. "
                f"Received: status {started.returncode}"
            )
        return samples
    finally:
        processes.kill(started)


def steady_rate(samples, shard_size):
    """Computes speed and memory between the first and the last shard of a run.

    Args:
        samples: The samples of `run_pipeline`.
        shard_size: Number of images per shard.

    Returns:
        Images per second, the highest memory in MiB, and the growth of memory.

    Raises:
        ValueError: The run finished too few shards.
    """
    before, after = samples[0][2], samples[-1][2]
    inside = [sample for sample in samples if before < sample[2] < after]
    inside.append(next(sample for sample in samples if sample[2] == after))
    (begin, _, first), (end, _, last) = inside[0], inside[-1]
    if len(inside) < 3 or first == last:
        raise ValueError(
            "The run is too short to be measured. Expected more images (--count) or "
            "smaller shards (--shard_size). Received: "
            f"{after - before} shards in {len(inside)} samples"
        )
    third = len(inside) // 3
    middle, late = (
        statistics.median(mib for _, mib, _ in part)
        for part in (inside[third : 2 * third], inside[-third:])
    )
    highest = max(mib for _, mib, _ in inside)
    return (last - first) * shard_size / (end - begin), highest, late / middle


def predict_rate(model_dir, images, batch_size):
    """Measures the images per second of `predict.py`, without its first batch."""
    command = [sys.executable, str(SCRIPTS / "predict.py"), "--model_dir", model_dir]
    command += ["--batch_size", str(batch_size), "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        started.stdin.write("".join(f"{path}\n" for path in images))
        started.stdin.close()
        # All lines of a batch are printed at once.
        times = [time.monotonic() for _ in started.stdout][batch_size - 1 :]
    return (len(times) - 1) / (times[-1] - times[0])


def command_line(arguments, listed, folder, *more):
    """The command line of `predict_batch.py` for a list and an output folder."""
    return [
        *(sys.executable, str(SCRIPTS / "predict_batch.py")),
        *("--model_dir", arguments.model_dir, "--list", str(listed)),
        *("--output_dir", str(folder), "--shard_size", str(arguments.shard_size)),
        *("--batch_size", str(arguments.batch_size), *more),
    ]


def measure_beam(arguments, inputs, workers):
    """Predicts the whole list with Beam, killed in between, and returns its growth."""
    folder = arguments.work / f"beam-{workers}"
    more = ()
    if workers > 1:
        more = ("--direct_num_workers", str(workers))
        more += ("--direct_running_mode", "multi_processing")
    command = command_line(arguments, inputs[0], folder, *more)
    shards = -(-arguments.count // arguments.shard_size)
    # Early kills leave the last start long enough to be measured.
    for kill in range(1, arguments.kills + 1):
        run_pipeline(command, folder, kill * shards // (4 * arguments.kills))
    samples = run_pipeline(command, folder)
    name = f"beam, {workers} processes, killed {arguments.kills} times"
    return report(arguments, inputs, name, folder, samples)


def measure_ray(arguments, inputs, nodes):
    """Predicts the whole list with Ray, in peace, and returns its growth."""
    folder = arguments.work / f"ray-{nodes}"
    with RayCluster(nodes) as cluster:
        command = on_cluster(arguments, inputs[0], folder, cluster, nodes)
        samples = run_pipeline(command, folder, cluster=cluster)
    return report(arguments, inputs, f"ray, {nodes} nodes", folder, samples)


def measure_lost_node(arguments, inputs):
    """Predicts the whole list with Ray while a node is lost and another joins."""
    folder = arguments.work / "ray-lost"
    shards = -(-arguments.count // arguments.shard_size)
    with RayCluster(2) as cluster:
        command = on_cluster(arguments, inputs[0], folder, cluster, 2)
        events = [
            (shards // 4, cluster.remove_node),
            (shards // 2, cluster.add_node),
        ]
        samples = run_pipeline(command, folder, cluster=cluster, events=events)
    name = "ray, 2 nodes, one lost and another joined"
    report(arguments, inputs, name, folder, samples)


def on_cluster(arguments, listed, folder, cluster, actors):
    """The command line of `predict_batch.py` on a `RayCluster`."""
    flags = "--engine", "ray", "--address", cluster.address
    flags += "--concurrency", str(actors)
    return command_line(arguments, listed, folder, *flags)


def report(arguments, inputs, name, folder, samples):
    """Counts the answers, prints them with speed and memory, and returns its growth."""
    records, unread = count_answers(*inputs, folder)
    speed, highest, growth = steady_rate(samples, arguments.shard_size)
    print(
        f"{name}: {speed:.1f} images per second, at most {highest:.0f} MiB, growth "
        f"{growth:.3f}; {records} records + {unread} unread of {arguments.count}",
        flush=True,
    )
    return growth


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--images", nargs="+", required=True, help="files or folders")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--plain", type=int, default=2_000, help="images; %(default)s")
    parser.add_argument("--shard_size", type=int, default=250)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--kills", type=int, default=2, help="of Beam; %(default)s")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2], help="of Ray")
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    arguments.work.mkdir(parents=True)
    images = find_images(arguments.images)
    inputs = write_list(images, arguments.count, arguments.work)
    repeated = [images[i % len(images)] for i in range(arguments.plain)]
    rate = predict_rate(arguments.model_dir, repeated, arguments.batch_size)
    print(f"predict.py: {rate:.1f} images per second", flush=True)
    growths = [measure_beam(arguments, inputs, n) for n in arguments.processes]
    growths += [measure_ray(arguments, inputs, n) for n in arguments.nodes]
    if arguments.nodes:
        measure_lost_node(arguments, inputs)
    if max(growths, default=0) > FLAT:
        raise ValueError(
            f"Memory grows. Expected a growth of {FLAT} or less. Received: {growths}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
