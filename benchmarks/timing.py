"""Times candidates in turns and computes ratios of their times."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from tqdm import tqdm


class Candidate(NamedTuple):
    """A function to be timed.

    Args:
        run: A function without arguments.
        images: The number of images that a call processes; a fraction if it does only
            part of the work for an image.
    """

    run: Callable[[], object]
    images: float


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of the times that two candidates take per image.

    Args:
        name: The name in the results.
        over: The candidate whose time is the numerator.
        under: The candidate whose time is the denominator.
        at_most: The target as an upper bound, or None.
        at_least: The target as a lower bound, or None.
        less: Candidates whose times are first subtracted from that of `over`.
        centre: Reduces the rounds' ratios to one. Shares of a whole use the mean:
            means sum to 1, medians need not.
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
        """The names of its candidates."""
        return {self.over, self.under, *self.less}

    def per_round(self, seconds):
        """Computes the ratio in each round.

        Args:
            seconds: For each candidate, its seconds per image in each round.
        """
        rounds = zip(
            seconds[self.over],
            seconds[self.under],
            *(seconds[name] for name in self.less),
            strict=True,
        )
        return [(over - sum(less)) / under for over, under, *less in rounds]


class Measured(NamedTuple):
    """A measured ratio.

    Args:
        value: The ratio.
        low: Its smallest value in a round.
        high: Its largest value in a round.
        rounds: The number of rounds.
        seconds: Each candidate's median seconds per image.
    """

    value: float
    low: float
    high: float
    rounds: int
    seconds: dict


def alternate(candidates, rounds, clock=time.perf_counter, bar=None):
    """Times candidates in turns.

    Each is called once before, untimed, to trace graphs, allocate memory and read files
    for the first time.

    Args:
        candidates: `Candidate`s by name.
        rounds: The number of timed rounds.
        clock: A function that returns seconds.
        bar: A progress bar that is updated by each call, or None.

    Returns:
        For each candidate, its seconds per image in each round.
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


def measure(ratios, candidates, rounds, title="", clock=time.perf_counter):
    """Measures ratios together; candidates that they share are timed once.

    Args:
        ratios: The `Ratio`s.
        candidates: `Candidate`s by name; those that no ratio needs are not called.
        rounds: The number of timed rounds.
        title: The title of the progress bar.
        clock: A function that returns seconds.

    Returns:
        The `Measured` of each ratio, by name.
    """
    needed = set().union(*(ratio.needs for ratio in ratios))
    candidates = {name: candidates[name] for name in candidates if name in needed}
    calls = (1 + rounds) * len(candidates)
    with tqdm(total=calls, desc=title, unit="call", leave=False) as bar:
        seconds = alternate(candidates, rounds, clock, bar)
    measured = {}
    for ratio in ratios:
        values = ratio.per_round(seconds)
        measured[ratio.name] = Measured(
            ratio.centre(values),
            min(values),
            max(values),
            rounds,
            {n: statistics.median(seconds[n]) for n in candidates if n in ratio.needs},
        )
    return measured
