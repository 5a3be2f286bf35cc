"""The devices that share the training of a run: on one machine or on several.

Each of them has all the weights and computes its part of every batch; their gradients
are summed. Of several machines one is the chief: files, validation and decisions are
its affair, and the others are told. So they need the data, but no output folder.
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

PATIENCE = 600  # seconds that workers wait for each other at the start


@dataclasses.dataclass(frozen=True)
class Devices:
    """Several devices, or by default the one that TensorFlow takes by itself.

    Args:
        strategy: How the parts are put together; TensorFlow's default for one device.
        workers: How many processes take part.
        position: Which of them this is; 0 is the chief.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(
        default_factory=tf.distribute.get_strategy
    )
    workers: int = 1
    position: int = 0

    @classmethod
    def start(cls, count=1, patience=PATIENCE):
        """Takes the devices; to be called before anything else of TensorFlow.

        Where the environment variable TF_CONFIG names several workers, it waits for all
        of them. Each takes all GPUs that it sees, or its CPU.

        Args:
            count: How many GPUs of this machine. Without any GPU the CPU is divided
                into as many devices, which is for trying only.
            patience: Seconds to wait for the other workers. After them the process is
                ended, as TensorFlow cannot be interrupted there.

        Raises:
            ValueError: There are not as many, or TF_CONFIG cannot be used.
        """
        addresses, position = _cluster(os.environ.get("TF_CONFIG", ""))
        if len(addresses) < 2:
            return cls(_mirrored(count))
        if count != 1:
            raise ValueError(
                "A worker takes all GPUs that it sees. Expected TF_CONFIG without "
                "--devices (CUDA_VISIBLE_DEVICES says what is seen). Received: "
                f"--devices {count}"
            )
        print(
            f"worker {position + 1} of {len(addresses)}: waiting for the others, at "
            f"{', '.join(addresses)}; it ends if they have not come within {patience} "
            "seconds",
            file=sys.stderr,
            flush=True,
        )
        with _ending_after(patience):
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return cls(strategy, len(addresses), position)

    @property
    def count(self):
        """How many devices there are, those of all workers together."""
        return self.strategy.num_replicas_in_sync

    @property
    def chief(self):
        """Whether this process writes and decides."""
        return self.position == 0

    def check(self, settings):
        """Raises a `ValueError` where settings cannot be trained with on several."""
        if self.count == 1:
            return
        for fits, expected, name in (
            (
                not settings.training.batch_size % self.count,
                "a multiple of it",
                "batch_size",
            ),
            (not settings.training.jit_compile, "no --jit_compile", "jit_compile"),
            # Keras asks each device alone whether its gradients are finite.
            (settings.training.precision != "mixed_float16", "another", "precision"),
            (
                self.workers == 1 or not settings.given_regions,
                "attention with several workers",
                "region_source",
            ),
        ):
            if not fits:
                raise ValueError(
                    f"{name} does not go with {self.count} devices. Expected "
                    f"{expected}. Received: {name}={settings[name]}"
                )

    def even_batch_size(self, size):
        """The largest batch of at most `size` images of which all have the same share.

        Raises:
            ValueError: There are more devices than images.
        """
        if size < self.count:
            raise ValueError(
                "There are fewer images to learn from than devices. Expected at least "
                f"{self.count}. Received: {size}"
            )
        return size - size % self.count

    def broadcast(self, value):
        """The chief's value at every worker; all of them have to ask for it.

        Args:
            value: What JSON can say; at the others it does not matter.
        """
        if self.workers == 1:
            return value
        text = np.frombuffer(json.dumps(value).encode(), "uint8").astype("int32")
        (length,) = self._sum([len(text) * self.chief])
        (text,) = self._sum([np.resize(text, length) * self.chief])
        return json.loads(bytes(text.astype("uint8")))

    def broadcast_variables(self, variables):
        """Gives the variables of all workers the values that the chief's have."""
        if self.workers > 1:
            values = [variable.numpy() for variable in variables]
            own = values if self.chief else map(np.zeros_like, values)
            for variable, value in zip(variables, self._sum(own), strict=True):
                variable.assign(value)

    @contextlib.contextmanager
    def guarded(self):
        """What the workers do together; ends with a sentence where one has ended.

        Raises:
            ConnectionError: Another worker has ended, or cannot be reached any more.
        """
        try:
            yield
        except tf.errors.UnavailableError as error:
            lines = [line for line in error.message.splitlines() if "aborted" in line]
            raise ConnectionError(
                "A worker has ended or cannot be reached. Expected all of them until "
                "the end of training; start all again with --resume. Received: "
                f"{' '.join(lines) or error.message}"
            ) from error

    def check_same(self, what, text):
        """Raises a `ValueError` at every worker where texts are not the chief's."""
        own = hashlib.sha256(text.encode()).hexdigest()
        differs = self.broadcast(own) != own
        if self.workers > 1 and sum(self._sum([int(differs)])):
            place = "differs from" if differs else "is"
            raise ValueError(
                f"The workers do not have the same {what}. Expected the same command "
                f"and the same data at each. Received: others; this one {place} the "
                "chief's"
            )

    def _sum(self, values):
        """The sums over workers of numbers or arrays; all of them have to call it."""
        values = [tf.constant(value) for value in values]
        local = len(self.strategy.extended.worker_devices)

        def of_first_device():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            first = number % local == 0
            return [tf.where(first, value, tf.zeros_like(value)) for value in values]

        def sums():
            parts = self.strategy.run(of_first_device)
            return [self.strategy.reduce("SUM", part, axis=None) for part in parts]

        graph = tf.function(sums, autograph=False).get_concrete_function()
        return [each.numpy() for each in graph()]


def add_argument(parser):
    """Adds the flag `--devices` to a parser."""
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        help="how many GPUs share each batch; without a GPU the CPU is divided into as "
        "many, which is for trying only [%(default)s]",
    )


class FollowChief(keras.callbacks.Callback):
    """Lets all workers go on from where the chief is after an epoch, or stop with it.

    They would drift apart otherwise: to validate averaged weights the chief, and it
    alone, swaps them with the others, which Keras does by adding and so rounds.

    Args:
        devices: The `Devices`.
        variables: What training changes.
    """

    def __init__(self, devices, variables):
        super().__init__()
        self.devices, self.variables = devices, variables

    def on_epoch_end(self, epoch, logs=None):
        stop = self.devices.broadcast(bool(self.model.stop_training))
        self.model.stop_training = stop
        self.devices.broadcast_variables(self.variables)


def _mirrored(count):
    """The strategy for some devices of this machine."""
    gpus = tf.config.list_physical_devices("GPU")
    if count < 1 or (gpus and count > len(gpus)):
        expected = (
            f"1 to {len(gpus)}, the GPUs of this machine" if gpus else "1 or more"
        )
        raise ValueError(
            f"There are not as many devices. Expected {expected}. "
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
    """The addresses of the workers that TF_CONFIG names, chief first, and our place."""
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
            raise ValueError("other jobs than chief and worker, or an address twice")
        if len(addresses) < 2:
            return addresses, 0
        task = content["task"]
        return addresses, tasks.index((task["type"], int(task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            'TF_CONFIG cannot be used. Expected {"cluster": {"worker": ["host:port", '
            '...]}, "task": {"type": "worker", "index": 0}}, the index being another '
            f"for each worker. Received: {text} ({error})"
        ) from error


@contextlib.contextmanager
def _ending_after(patience):
    """Ends the process, with status 1, where what is done inside takes longer.

    TensorFlow keeps Python from running while it waits, other threads and Ctrl-C
    included; the watchdog of `faulthandler` needs no Python.
    """
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(patience, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
