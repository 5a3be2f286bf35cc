"""Starts the workers of one machine, watches them, and starts them again.

TensorFlow cannot go on with fewer workers than it began with: when one is lost, the
others end, and all resume from the last checkpoint.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

POLL = 0.1  # seconds
# Workers notice within about ten seconds that another has ended.
GRACE = 60.0


class LocalWorkers:
    """Workers that run the same command, each with its place in `TF_CONFIG`.

    Args:
        command: The command of each, a list of strings. Worker 0, the chief, writes to
            this process's output; lines of the others begin with their number.
        count: The number of workers.
        restarts: How often all are started again after one was lost.
        resume: What is added to the command then, a list of strings.
    """

    def __init__(self, command, count, restarts=3, resume=()):
        self.command, self.count = list(command), count
        self.restarts, self.resume = restarts, list(resume)
        self._processes, self._readers, self._signalled = [], [], None

    def run(self):
        """Runs the workers to their end.

        SIGTERM and Ctrl-C are passed on to them.

        Returns:
            0 if all succeed; otherwise the status of the first that failed, 128 and the
            signal's number for a signal.
        """
        names = signal.SIGTERM, signal.SIGINT
        before = [signal.signal(name, self._pass_on) for name in names]
        try:
            return self._run()
        finally:
            for name, handler in zip(names, before, strict=True):
                signal.signal(name, handler)
            self._end(signal.SIGKILL)

    def _run(self):
        command, left = self.command, self.restarts
        while True:
            statuses = self._run_once(command)
            lost = [i for i, status in enumerate(statuses) if _is_lost(status)]
            if self._signalled:
                return 128 + self._signalled
            if not lost or not left:
                failed = [abs(s) + 128 * (s < 0) for s in statuses if s]
                return failed[0] if failed else 0
            left -= 1
            print(
                f"lost: worker {', '.join(str(i + 1) for i in lost)} of {self.count}; "
                f"all are started again, which can be repeated {left} times",
                file=sys.stderr,
                flush=True,
            )
            added = [each for each in self.resume if each not in self.command]
            command = self.command + added

    def _run_once(self, command):
        """Starts all workers and returns their exit statuses."""
        addresses = [f"localhost:{port}" for port in _free_ports(self.count)]
        self._processes = [
            self._start(command, addresses, i) for i in range(self.count)
        ]
        deadline = None
        while any(process.poll() is None for process in self._processes):
            if deadline is None and any(p.returncode for p in self._processes):
                deadline = time.monotonic() + GRACE
            if deadline is not None and time.monotonic() > deadline:
                # They wait for a worker that is gone: not lost by themselves.
                self._end(signal.SIGTERM)
                deadline += GRACE
            time.sleep(POLL)
        for reader in self._readers:
            reader.join()
        return [process.returncode for process in self._processes]

    def _start(self, command, addresses, index):
        task = {"type": "worker", "index": index}
        text = json.dumps({"cluster": {"worker": addresses}, "task": task})
        environment = {**os.environ, "TF_CONFIG": text, **self._devices(index)}
        if index == 0:
            return subprocess.Popen(command, env=environment)
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        reader = threading.Thread(target=_show, args=(process, index), daemon=True)
        reader.start()
        self._readers.append(reader)
        return process

    def _devices(self, index):
        """Returns a worker's share of the GPUs that CUDA_VISIBLE_DEVICES lists."""
        listed = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if len(listed) < self.count:
            return {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(listed[index :: self.count])}

    def _pass_on(self, number, _):
        self._signalled = number
        self._end(signal.SIGTERM)

    def _end(self, number):
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def _is_lost(status):
    """Whether a status is that of a worker that was ended from outside."""
    return status < 0 or status == 128 + signal.SIGTERM


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _show(process, index):
    with process.stdout as lines:
        for line in lines:
            print(f"worker {index + 1}: {line}", end="", flush=True)
