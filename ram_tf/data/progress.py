"""How progress is shown: redrawn bars on a terminal, plain lines in a log file.

Every bar of the package comes from here, so that a log has no control characters.
"""

import contextlib
import io
import re
import sys

from tqdm import tqdm

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tab and line feed


def bar(iterable=None, title=None, total=None, unit="it", leave=False):
    """Returns a tqdm bar, which shows nothing where stderr is no terminal.

    Args:
        iterable: What to iterate over; None for a bar that is updated by hand.
        title: Text before the bar.
        total: Number of steps; None for that of the iterable, if it has one.
        unit: Name of a step.
        leave: Whether the bar stays when it is finished.
    """
    # tqdm's `disable=None` asks the stream, at each call.
    return tqdm(iterable, title, total, leave, unit=unit, disable=None)


def on_terminal():
    """Returns whether stdout, where Keras draws, is a terminal."""
    return sys.stdout.isatty()


class _Lines(io.TextIOBase):
    """Passes on what is written to it unless it has control characters, as bars do."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        if not CONTROL.search(text):
            self.stream.write(text)
        return len(text)

    def flush(self):
        self.stream.flush()

    def isatty(self):
        return False


@contextlib.contextmanager
def only_lines():
    """Leaves what redraws, as Keras' bar of a download, out of stdout that is a log."""
    if on_terminal():
        yield
    else:
        with contextlib.redirect_stdout(_Lines(sys.stdout)):
            yield
