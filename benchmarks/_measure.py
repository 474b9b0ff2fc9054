"""Time two things in turn, so that a machine that slows down slows both; note the figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


def in_turn(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Pair:
    """Return the seconds of each round of both, taken in turn after a warm-up."""
    for _ in range(max(3, rounds // 20)):
        first()
        second()
    pair = Pair([], [])
    for _ in range(rounds):
        pair.first.append(_seconds(first))
        pair.second.append(_seconds(second))
    return pair


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Pair:
    """Seconds of two things, round by round."""

    def __init__(self, first: list[float], second: list[float]) -> None:
        self.first, self.second = first, second

    @property
    def ratio(self) -> float:
        """Median of the first over median of the second."""
        return statistics.median(self.first) / statistics.median(self.second)

    @property
    def excess_us(self) -> float:
        """Median of the differences, round by round, in microseconds."""
        return statistics.median(a - b for a, b in zip(self.first, self.second, strict=True)) * 1e6

    def times(self) -> str:
        """Write medians and 99th percentiles of both, in microseconds."""
        return f"{_times(self.first)} against {_times(self.second)}"


def _times(seconds: list[float]) -> str:
    p99 = statistics.quantiles(seconds, n=100)[98]
    return f"{statistics.median(seconds) * 1e6:.0f} us (p99 {p99 * 1e6:.0f})"


class Figure(NamedTuple):
    """A figure of a run with its target; `samples` are seconds, of the thing and what is beside.

    A point of a curve has the name of the curve, and `at`, where on the axis it is. It has no
    target, which is 0 then.
    """

    what: str
    value: float
    target: float
    unit: str
    samples: tuple[list[float], list[float]]
    curve: str = ""
    at: int = 0


FIGURES: list[Figure] = []
"""The figures of this process so far."""


def report(
    what: str, value: float, target: float, unit: str, detail: str, pair: Pair | None = None
) -> int:
    """Print and note a figure beside its target; return 1 when it was missed.

    Args:
        what: its name.
        value: the figure.
        target: the largest value that is allowed.
        unit: the unit of both.
        detail: more words for the reader of this run.
        pair: the samples behind it, if it comes from two things timed in turn.
    """
    met = value <= target
    said = f"{what}: {value:.2f} {unit} (at most {target:g}){'; ' * bool(detail)}{detail}"
    print(f"  {'ok  ' if met else 'MISS'} {said}", flush=True)
    samples = ([], []) if pair is None else (pair.first, pair.second)
    FIGURES.append(Figure(what, value, target, unit, samples))
    return 0 if met else 1


def point(curve: str, at: int, value: float, unit: str) -> None:
    """Note a point of a curve."""
    FIGURES.append(Figure(f"{curve} at {at:,}", value, 0.0, unit, ([], []), curve, at))
