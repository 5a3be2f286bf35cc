"""Data-parallel training on several devices of one machine or of several machines.

Each device has all weights and computes the gradients of its part of every batch; the
gradients are summed. One worker, the chief, validates, decides and writes all files; it
broadcasts its decisions. The other workers need the data but no output folder.
"""

import contextlib
import dataclasses
import faulthandler
import hashlib
import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

TIMEOUT = 600  # seconds that workers wait for each other at the start


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a training run, by default TensorFlow's default device.

    Args:
        strategy: The `tf.distribute.Strategy` of the devices.
        workers: Number of processes.
        position: Number of this process among them, from 0; 0 is the chief.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(
        default_factory=tf.distribute.get_strategy
    )
    workers: int = 1
    position: int = 0

    @classmethod
    def start(cls, count=1, timeout=TIMEOUT):
        """Sets up the devices; must be called before TensorFlow does anything else.

        If the environment variable TF_CONFIG names several workers, it waits for all of
        them. Each worker uses all its visible GPUs, or else its CPU.

        Args:
            count: Number of GPUs of this machine. Without a GPU, the CPU is divided
                into this number of logical devices, which is useful only for tests.
            timeout: Seconds to wait for the other workers. Afterwards the process
                exits, because TensorFlow cannot be interrupted while it waits.

        Raises:
            ValueError: The machine has fewer devices, or TF_CONFIG cannot be used.
        """
        addresses, position = _cluster(os.environ.get("TF_CONFIG", ""))
        if len(addresses) < 2:
            return cls(_mirrored(count))
        if count != 1:
            raise ValueError(
                "A worker uses all GPUs that CUDA_VISIBLE_DEVICES makes visible. "
                "Expected TF_CONFIG without --devices. Received: "
                f"--devices {count}"
            )
        print(
            f"worker {position + 1} of {len(addresses)}: waiting for all workers at "
            f"{', '.join(addresses)}; exits if they are not there after {timeout} "
            "seconds",
            file=sys.stderr,
            flush=True,
        )
        with _exiting_after(timeout):
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return cls(strategy, len(addresses), position)

    @property
    def count(self):
        """The number of devices of all workers together."""
        return self.strategy.num_replicas_in_sync

    @property
    def chief(self):
        """Whether this process validates and writes all files."""
        return self.position == 0

    def check(self, settings):
        """Raises a `ValueError` if several devices cannot train with the settings."""
        if self.count == 1:
            return
        for fits, expected, name in (
            (
                not settings.training.batch_size % self.count,
                "a multiple of their number",
                "batch_size",
            ),
            (not settings.training.jit_compile, "no --jit_compile", "jit_compile"),
            # Keras checks on each device separately whether gradients are finite.
            (settings.training.precision != "mixed_float16", "another", "precision"),
            (
                self.workers == 1 or not settings.given_regions,
                "attention with several workers",
                "region_source",
            ),
        ):
            if not fits:
                raise ValueError(
                    f"{name} cannot be used with {self.count} devices. Expected "
                    f"{expected}. Received: {name}={settings[name]}"
                )

    def even_batch_size(self, size):
        """Returns the largest batch size up to `size` that all devices share equally.

        Raises:
            ValueError: There are more devices than images.
        """
        if size < self.count:
            raise ValueError(
                "There are fewer training images than devices. Expected at least "
                f"{self.count}. Received: {size}"
            )
        return size - size % self.count

    def broadcast(self, value):
        """Returns the chief's value; every worker must call it.

        Args:
            value: A value that JSON can hold; only the chief's is used.
        """
        if self.workers == 1:
            return value
        text = np.frombuffer(json.dumps(value).encode(), "uint8").astype("int32")
        (length,) = self._sum([len(text) if self.chief else 0])
        (text,) = self._sum([text if self.chief else np.zeros(length, "int32")])
        return json.loads(bytes(text.astype("uint8")))

    def broadcast_variables(self, variables):
        """Assigns the values of the chief's variables to those of every worker."""
        if self.workers > 1:
            values = [variable.numpy() for variable in variables]
            own = values if self.chief else map(np.zeros_like, values)
            for variable, value in zip(variables, self._sum(own), strict=True):
                variable.assign(value)

    @contextlib.contextmanager
    def guarded(self):
        """Turns TensorFlow's error for a lost worker into a `ConnectionError`."""
        try:
            yield
        except tf.errors.UnavailableError as error:
            lines = [line for line in error.message.splitlines() if "aborted" in line]
            raise ConnectionError(
                "A worker has ended or cannot be reached. Expected all workers to run "
                "until training ends; start them all again with --resume. Received: "
                f"{' '.join(lines) or error.message}"
            ) from error

    def check_same(self, what, text):
        """Raises a `ValueError` at every worker if a text differs from the chief's."""
        own = hashlib.sha256(text.encode()).hexdigest()
        differs = self.broadcast(own) != own
        if self.workers > 1 and sum(self._sum([int(differs)])):
            place = "differs from" if differs else "is"
            raise ValueError(
                f"The workers do not have the same {what}. Expected the same command "
                "and the same data at each worker. Received: other ones; this worker "
                f"{place} the chief"
            )

    def _sum(self, values):
        """Returns sums over workers of numbers or arrays; every worker must call it."""
        values = [tf.constant(value) for value in values]
        local = len(self.strategy.extended.worker_devices)

        def of_first_device():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first = replica % local == 0
            return [tf.where(first, value, tf.zeros_like(value)) for value in values]

        def sums():
            parts = self.strategy.run(of_first_device)
            return [self.strategy.reduce("SUM", part, axis=None) for part in parts]

        graph = tf.function(sums, autograph=False).get_concrete_function()
        return [each.numpy() for each in graph()]


class FollowChief(keras.callbacks.Callback):
    """Gives all workers the chief's variables and its decision to stop, each epoch.

    Their weights would differ otherwise: only the chief swaps in the averaged weights
    to validate them, which Keras does by additions that round.

    Args:
        devices: The `Devices`.
        variables: The variables that training changes.
    """

    def __init__(self, devices, variables):
        super().__init__()
        self.devices, self.variables = devices, variables

    def on_epoch_end(self, epoch, logs=None):
        stop = self.devices.broadcast(bool(self.model.stop_training))
        self.model.stop_training = stop
        self.devices.broadcast_variables(self.variables)


def _mirrored(count):
    """Returns the strategy for a number of devices of this machine."""
    gpus = tf.config.list_physical_devices("GPU")
    if count < 1 or (gpus and count > len(gpus)):
        expected = (
            f"1 to {len(gpus)}, the GPUs of this machine" if gpus else "1 or more"
        )
        raise ValueError(
            f"The machine does not have that many devices. Expected {expected}. "
            f"Received: --devices {count}"
        )
    if count == 1:
        return tf.distribute.get_strategy()
    if gpus:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def _cluster(text):
    """Returns the workers' addresses, chief first, and this process's position."""
    try:
        content = json.loads(text or "{}")
        jobs = content.get("cluster", {})
        tasks = [
            (job, index)
            for job in ("chief", "worker")
            for index in range(len(jobs.get(job, ())))
        ]
        addresses = [jobs[job][index] for job, index in tasks]
        if not set(jobs) <= {"chief", "worker"} or len(set(addresses)) < len(addresses):
            raise ValueError("other jobs than chief and worker, or a repeated address")
        if len(addresses) < 2:
            return addresses, 0
        task = content["task"]
        return addresses, tasks.index((task["type"], int(task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            'TF_CONFIG cannot be used. Expected {"cluster": {"worker": ["host:port", '
            '...]}, "task": {"type": "worker", "index": 0}}, with a different index '
            f"for each worker. Received: {text} ({error})"
        ) from error


@contextlib.contextmanager
def _exiting_after(seconds):
    """Exits the process with status 1 if the body takes longer.

    TensorFlow blocks all Python threads and Ctrl-C while it waits; the watchdog of
    `faulthandler` needs no Python.
    """
    with open(os.devnull, "w") as devnull:
        faulthandler.dump_traceback_later(seconds, exit=True, file=devnull)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
