"""The argument parser and the error handling that all scripts share."""

import argparse
import os
import sys

import tensorflow as tf


def parser(description, **options):
    """Returns an `ArgumentParser` that keeps the line breaks of its description.

    Args:
        description: The `__doc__` of the script.
        **options: Further arguments of `argparse.ArgumentParser`.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        description=description, formatter_class=formatter, **options
    )


def run(main, argv=None):
    """Runs a script's `main(argv)` and prints expected errors without a traceback.

    Args:
        main: A function of the list of arguments that returns an exit status.
        argv: The arguments; None for those of the process.

    Returns:
        The exit status: that of `main`, 1 after an error, 130 after Ctrl-C.
    """
    try:
        return main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print(
            "interrupted; repeat the command to resume (fit.py: with --resume)",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader of the pipe has ended, for example `head`. Not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except tf.errors.OpError as error:
        # The first line is the message; the others are the place in the graph.
        print(f"error: {error.message.splitlines()[0]}", file=sys.stderr)
        return 1
