"""The argument parser and the error handling that all commands share."""

import argparse
import os
import sys


class Parser(argparse.ArgumentParser):
    """A parser whose `--help` may leave flags out, which `--help-all` then shows."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden = []

    def hide(self, actions):
        """Leaves flags out of `--help` and of usages; the first call adds `--help-all`.

        Args:
            actions: A list of what `add_argument` returned.
        """
        if not self.hidden:
            self.add_argument(
                "--help-all",
                action=_HelpAll,
                nargs=0,
                default=argparse.SUPPRESS,
                help="show all flags, also those that are rarely needed, and exit",
            )
        self.hidden += actions
        self.epilog = f"{len(self.hidden)} more flags: {self.prog} --help-all"

    def format_help(self):
        return self._without_hidden(super().format_help)

    def format_usage(self):
        return self._without_hidden(super().format_usage)

    def _without_hidden(self, formatted):
        texts = [action.help for action in self.hidden]
        try:
            for action in self.hidden:
                action.help = argparse.SUPPRESS
            return formatted()
        finally:
            for action, text in zip(self.hidden, texts, strict=True):
                action.help = text


class _HelpAll(argparse.Action):
    """An action that prints the help of all flags and exits."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.hidden, parser.epilog = [], None
        parser.print_help()
        parser.exit()


def parser(description, **options):
    """Returns a `Parser` that keeps the line breaks of its description.

    Args:
        description: The `__doc__` of the command's module.
        **options: Further arguments of `argparse.ArgumentParser`.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    return Parser(description=description, formatter_class=formatter, **options)


def run(main, argv=None):
    """Runs a command's `main(argv)` and prints expected errors without a traceback.

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
            "interrupted; repeat the command to resume (fit: with --resume)",
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
    except Exception as error:
        # Not imported for this, since it takes seconds: it is the source of its errors.
        tensorflow = sys.modules.get("tensorflow")
        if not tensorflow or not isinstance(error, tensorflow.errors.OpError):
            raise
        # The first line is the message; the others are the place in the graph.
        print(f"error: {error.message.splitlines()[0]}", file=sys.stderr)
        return 1
