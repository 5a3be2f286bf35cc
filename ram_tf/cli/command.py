"""What all scripts share: the parser's form, and errors as one sentence each."""

import argparse
import os
import sys

import tensorflow as tf


def parser(description, **options):
    """Returns an `ArgumentParser` that prints a script's docstring as it is written.

    Args:
        description: The `__doc__` of the script.
        **options: Others of `argparse.ArgumentParser`.
    """
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        description=description, formatter_class=form, **options
    )


def run(main, argv=None):
    """Runs a script's `main(argv)` and turns what users can cause into a sentence.

    Args:
        main: Takes the list of arguments and returns an exit status.
        argv: The arguments; None for those of the process.

    Returns:
        The status of `main`; 1 after an error, 130 after Ctrl-C.
    """
    try:
        return main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print(
            "interrupted; fit.py goes on with --resume, ablate.py and predict_beam.py "
            "when started again",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader has gone, as `head` does; nothing is left to be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except tf.errors.OpError as error:
        # TensorFlow appends where in the graph it was; its first line says what it was.
        print(f"error: {error.message.splitlines()[0]}", file=sys.stderr)
        return 1
