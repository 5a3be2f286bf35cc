"""A Ray cluster on this machine: each node is a `ray start` of its own."""

import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from benchmarks import processes

START = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block")
OBJECT_STORE = 100_000_000  # bytes; only numbers of shards pass through it
STARTED = "Ray runtime started."
SECONDS_TO_START = 120


class RayCluster:
    """A head, which runs no actors, and any number of nodes.

    It is a context manager, at whose end all processes are killed. Only processes in
    its `environment` may use it.

    Args:
        nodes: Number of nodes at the start, without the head.
        num_cpus: CPUs of a node.
    """

    def __init__(self, nodes, num_cpus=1):
        self.num_cpus = num_cpus
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        # Ray's sockets are in it, whose paths can have 107 characters.
        self.folder = tempfile.mkdtemp(prefix="ray-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.started = []
        port = self.address.rpartition(":")[2]
        self._start("--head", f"--port={port}", "--num-cpus=0")
        for _ in range(nodes):
            self.add_node()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started[::-1]:
            processes.kill(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_node(self):
        """Starts a node that joins the cluster."""
        self._start(f"--address={self.address}", f"--num-cpus={self.num_cpus}")

    def remove_node(self):
        """Kills the last node with all of its processes, as when its machine fails."""
        processes.kill(self.started.pop())

    def _start(self, *flags):
        command = [*START, *flags, f"--object-store-memory={OBJECT_STORE}"]
        if "--head" in flags:
            command += [f"--temp-dir={self.folder}", "--include-dashboard=false"]
        output = pathlib.Path(self.folder, f"node-{time.monotonic_ns()}.log")
        with open(output, "wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        end = time.monotonic() + SECONDS_TO_START
        # One after the other, since nodes that start at once may choose equal ports.
        while STARTED not in output.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > end:
                raise ChildProcessError(f"a node did not start: {output.read_text()}")
            time.sleep(0.1)
