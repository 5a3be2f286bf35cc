"""Prints versions, devices and memory, to be copied into a report of a fault.

    ram-tf info

It reads no files of yours and sends nothing.
"""

import os
import platform

import ram_tf
from ram_tf.cli import command

# What results depend on, then the extras.
PACKAGES = (
    *("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "pillow"),
    *("matplotlib", "tensorflow-datasets", "apache-beam", "ray", "gradio"),
    *("onnx", "onnxruntime", "tf2onnx", "ai-edge-litert", "tensorflow-serving-api"),
    "opencv-contrib-python-headless",
)


def parse(argv):
    """Returns the parsed flags."""
    return command.parser(__doc__, prog="ram-tf info").parse_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    parse(argv)
    rows = {
        "ram_tf": ram_tf.__version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        **{name: _version(name) for name in PACKAGES},
        "cores": _cores(),
        "memory": _memory(),
        **_devices(),
    }
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        print(f"{name:<{width}}{value}")
    return 0


def _version(package):
    from importlib import metadata  # here, since all of `--help` imports this module

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cores():
    whole = os.cpu_count()
    if not hasattr(os, "sched_getaffinity"):  # not on every system
        return f"{whole}"
    return f"{len(os.sched_getaffinity(0))} of {whole} for this process"


def _memory():
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
        return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):  # not on every system
        return "unknown"


def _devices():
    """Returns what TensorFlow finds; or the error that its import ends with."""
    try:
        import tensorflow as tf
    except Exception as error:  # a broken installation is what is to be reported
        return {"devices": f"TensorFlow cannot be imported: {error}"}
    rows = {}
    for device in tf.config.list_physical_devices():
        about = tf.config.experimental.get_device_details(device)
        name = about.get("device_name", "")
        rows[device.name.removeprefix("/physical_device:")] = name or "available"
    build = tf.sysconfig.get_build_info()
    cuda = build.get("cuda_version") if build.get("is_cuda_build") else None
    return {**rows, "CUDA of TensorFlow": cuda or "none"}
