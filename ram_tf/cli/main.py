"""The command `ram-tf`, which runs one of the commands of this folder."""

import importlib
import sys

import ram_tf
from ram_tf.cli import command

# Each is a module of this folder, of the same name, with `main(argv)`.
COMMANDS = (
    "fit",
    "launch",
    "evaluate",
    "predict",
    "demo",
    "export",
    "report",
    "compare",
    "ablate",
    "web",
    "batch",
    "check",
    "shard",
    "info",
)


def main(argv=None):
    """Runs the command that the first argument names, with the others.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit status: that of the command, 2 if there is none.
    """
    return command.run(_main, argv)


def _main(argv):
    name, *others = argv or [None]
    if name in COMMANDS:
        return _module(name).main(others)
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"ram-tf {ram_tf.__version__}")
        return 0
    if name is None:
        print(_help(), file=sys.stderr)
        return 2
    print(
        f"error: Unknown command. Expected one of: {', '.join(COMMANDS)}. "
        f"Received: {name}",
        file=sys.stderr,
    )
    return 2


def _module(name):
    return importlib.import_module(f"ram_tf.cli.{name}")


def _help():
    commands = "\n".join(
        f"  {name:<10}{_module(name).__doc__.splitlines()[0]}" for name in COMMANDS
    )
    return (
        "usage: ram-tf COMMAND ...\n\n"
        f"{ram_tf.__doc__.splitlines()[0]}\n\n{commands}\n\n"
        "ram-tf COMMAND --help explains a command; ram-tf --version prints the version."
    )
