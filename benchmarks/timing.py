"""Takes times in turns, and makes figures of them."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tqdm import tqdm


class Candidate(NamedTuple):
    """Something to be timed.

    Args:
        run: A function without arguments.
        images: How many images one call deals with; a fraction where it does only a
            part of what an image needs.
    """

    run: Callable[[], object]
    images: float


@dataclasses.dataclass(frozen=True)
class Figure:
    """A ratio of the times that two candidates take for an image.

    Args:
        name: Of the figure.
        over: The candidate whose time is divided.
        under: The candidate whose time it is divided by.
        at_most: The figure's target, from above; None for none.
        at_least: The same from below.
        less: Candidates whose times are taken off that of `over` first.
        centre: From the rounds' ratios to the figure. Shares of a whole take the mean,
            so that they sum to 1, which medians need not.
    """

    name: str
    over: str
    under: str
    at_most: float | None = None
    at_least: float | None = None
    less: tuple[str, ...] = ()
    centre: Callable = statistics.median

    @property
    def needs(self):
        """The candidates that it is made of."""
        return {self.over, self.under, *self.less}

    def ratios(self, seconds):
        """The figure in each round.

        Args:
            seconds: By candidate, the seconds an image of each round.
        """
        rounds = zip(
            seconds[self.over],
            seconds[self.under],
            *(seconds[name] for name in self.less),
            strict=True,
        )
        return [(over - sum(less)) / under for over, under, *less in rounds]


class Measured(NamedTuple):
    """A figure as it was measured.

    Args:
        value: The figure.
        low: Its least value in a round.
        high: Its largest.
        rounds: How many there were.
        seconds: By candidate, the median seconds an image.
    """

    value: float
    low: float
    high: float
    rounds: int
    seconds: dict


def alternate(candidates, rounds, clock=time.perf_counter, bar=None):
    """Times candidates in turns.

    Each is called once before, which is not timed: graphs are traced, memory is
    allocated, files are read for the first time.

    Args:
        candidates: `Candidate`s by name.
        rounds: How often each is timed.
        clock: Returns seconds.
        bar: A progress bar to update by each call, and to show what is being called.

    Returns:
        By name, the seconds an image of each round.
    """
    seconds = {name: [] for name in candidates}
    for number in range(-1, rounds):
        for name, candidate in candidates.items():
            if bar is not None:
                bar.set_postfix_str(name if number >= 0 else f"{name}, warming up")
            start = clock()
            candidate.run()
            # On a GPU a call returns before its work is done.
            tf.test.experimental.sync_devices()
            if number >= 0:
                seconds[name].append((clock() - start) / candidate.images)
            if bar is not None:
                bar.update()
    return seconds


def measure(figures, candidates, rounds, title="", clock=time.perf_counter):
    """Measures figures together: candidates that they share are timed once.

    Args:
        figures: `Figure`s.
        candidates: `Candidate`s by name; those that no figure needs are not called.
        rounds: How often each is timed.
        title: Of the progress bar.
        clock: Returns seconds.

    Returns:
        By name of the figure, what was `Measured`.
    """
    needed = set().union(*(figure.needs for figure in figures))
    candidates = {name: candidates[name] for name in candidates if name in needed}
    calls = (1 + rounds) * len(candidates)
    with tqdm(total=calls, desc=title, unit="call", leave=False) as bar:
        seconds = alternate(candidates, rounds, clock, bar)
    measured = {}
    for figure in figures:
        ratios = figure.ratios(seconds)
        measured[figure.name] = Measured(
            figure.centre(ratios),
            min(ratios),
            max(ratios),
            rounds,
            {n: statistics.median(seconds[n]) for n in candidates if n in figure.needs},
        )
    return measured
