"""What the page has seen of each book since its start: equity, times, and whether the bot answered.

The journal has no event for these, so the figures begin with the page.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from trueup.core.dates import iso
from trueup.doors.watch import Seen, key_of
from trueup.observe.status.status import Status

SAMPLE_SEC = 5.0
# A day of samples; and a week of minutes, which have only the counts of answers.
SAMPLES_KEPT = 17_280
MINUTES_KEPT = 7 * 24 * 60 + 10
SPANS = (("5 minutes", 300), ("1 hour", 3_600), ("1 day", 86_400), ("1 week", 604_800))
INFINITE = float("inf")


class Sample(NamedTuple):
    """What was seen of a book at a moment (seconds of UTC); the age in seconds, the sync in ms."""

    at_sec: float
    answers: bool
    equity: float | None
    age_sec: float | None
    sync_ms: float | None = None


class Minute(NamedTuple):
    """How many samples of a minute there are, and in how many of them the bot answered."""

    number: int
    answers: int
    samples: int


class _Book:
    """The samples of one book."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_KEPT)
        self.minutes: deque[Minute] = deque(maxlen=MINUTES_KEPT)

    def note(self, at_sec: float, one: Status) -> None:
        if self.samples and 0 <= at_sec - self.samples[-1].at_sec < SAMPLE_SEC:
            return
        answers = one.source == "bot"
        self.samples.append(Sample(at_sec, answers, one.money.equity, one.age_sec, one.sync_ms))
        number, before = int(at_sec // 60), Minute(-1, 0, 0)
        if self.minutes and self.minutes[-1].number == number:
            before = self.minutes.pop()
        self.minutes.append(Minute(number, before.answers + answers, before.samples + 1))


class Samples:
    """What the page has seen of each book since its start."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._of: dict[str, _Book] = {}

    def note(self, seen: Seen) -> None:
        """Keep a sample of each book, one in some seconds."""
        at_sec = seen.at_ns / 1e9
        with self._turn:
            for one in seen.statuses:
                self._of.setdefault(key_of(one), _Book()).note(at_sec, one)

    def of(self, key: str) -> list[Sample]:
        """Return the samples of a book, the oldest first."""
        with self._turn:
            return list(self._of[key].samples) if key in self._of else []

    def answered(self, key: str, now_sec: float) -> list[tuple[str, str]]:
        """Return the share of samples in which the bot answered, for each span that they cover."""
        with self._turn:
            minutes = list(self._of[key].minutes) if key in self._of else []
        if not minutes:
            return []
        began_sec = minutes[0].number * 60
        spans = [
            (f"last {words}", length) for words, length in SPANS if length <= now_sec - began_sec
        ]
        since = iso(began_sec * 1_000_000_000)[:16].replace("T", " ")
        return [
            (words, share)
            for words, length_sec in [*spans, (f"since {since}", INFINITE)]
            if (share := _share([m for m in minutes if now_sec - m.number * 60 <= length_sec]))
        ]


def _share(minutes: list[Minute]) -> str:
    count = sum(minute.samples for minute in minutes)
    return f"{100 * sum(minute.answers for minute in minutes) / count:.1f} %" if count else ""
