"""Ends training in order when the process is asked to terminate (SIGTERM)."""

import signal
import sys
import threading

STATUS = 128 + signal.SIGTERM  # 143, as shells report a process that SIGTERM has ended


class Termination:
    """A context in which SIGTERM is noted instead of ending the process at once.

    A spot machine or a cluster sends SIGTERM some seconds before it goes away: time to
    write a checkpoint after the running step. A second signal ends the process at once.
    """

    def __init__(self):
        self.requested = False
        self._previous = None

    def __enter__(self):
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, error, *_):
        self._restore()
        # Asked in the last step or after it, when the last checkpoint is written.
        if self.requested and error is None:
            self.exit()

    def _note(self, *_):
        self.requested = True
        self._restore()

    def _restore(self):
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def exit(self):
        """Ends the process with status 143; call it once everything is written."""
        print("terminated; fit with --resume goes on from here", file=sys.stderr)
        raise SystemExit(STATUS)
