"""Health for a supervisor: three questions, each with its address.

* `/healthz`: does `trueup metrics` itself work?
* `/livez`: does every bot answer? A restart of a bot helps if not.
* `/readyz`: does every bot answer, and does no book need a person? A restart does not help if not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.doors.metrics.books import Books, name_of
from trueup.doors.metrics.counting import Key
from trueup.doors.metrics.gauges import bot_up
from trueup.observe.status.status import State, Status
from trueup.runtime.control.gathering import WORST_FIRST

LATE_SEC = 30.0
"""Facts that are older, in seconds, are not known any more."""
READY = (State.AGREES, State.DEGRADED)
BOT = {True: "answers", False: "does not answer", None: "takes no commands"}


class BookHealth(msgspec.Struct, frozen=True):
    """The health of a book: its state, and whether its bot answers."""

    journal: str
    book: str
    state: str
    exit_code: int
    bot: str
    sentence: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: `ok` gives the HTTP status, 200 or 503.

    `state` is the worst state of the books, and `exit_code` that of `trueup status`. `age_sec` is
    the age of these facts in seconds, None if nothing is known.
    """

    ok: bool
    because: str
    state: str | None = None
    exit_code: int | None = None
    age_sec: float | None = None
    books: list[BookHealth] = []


class NoSuchBook(Exception):
    """There is no such book; the text names the known books."""


def health(path: str, names: Key, books: Books | None, age_sec: float | None) -> Health:
    """Answer one of the three questions.

    Args:
        path: `/healthz`, `/livez` or `/readyz`.
        names: the journal and the book to judge; an empty name stands for all.
        books: the latest facts, None before the first.
        age_sec: their age.

    Raises:
        NoSuchBook: no book has these names.
    """
    if books is None or age_sec is None or age_sec > LATE_SEC:
        because = f"The bots and journals did not answer within {LATE_SEC:.0f} s."
        return Health(ok=False, because=because, age_sec=age_sec)
    judged = _chosen(books.statuses, names)
    if not judged and not books.trouble:
        raise _no_such_book(books.statuses, names)
    because = _fault(path, judged)
    # A bot of another release, say, is no reason to restart the one that is asked about.
    if books.trouble and (not judged or path == "/healthz" or not any(names)):
        because = books.trouble
    if not judged:
        return Health(ok=False, because=because, age_sec=round(age_sec, 1))
    worst = min((one.state for one in judged), key=WORST_FIRST.index)
    return Health(
        ok=not because,
        because=because or "all is well",
        state=worst.value,
        exit_code=worst.exit_code,
        age_sec=round(age_sec, 1),
        books=[_line(one) for one in judged],
    )


def _chosen(statuses: Sequence[Status], names: Key) -> list[Status]:
    return [
        one
        for one in statuses
        if all(given in ("", name) for given, name in zip(names, name_of(one), strict=True))
    ]


def _no_such_book(statuses: Sequence[Status], names: Key) -> NoSuchBook:
    known = "; ".join(" ".join(name_of(one)) for one in statuses)
    asked = " ".join(names).strip()
    return NoSuchBook(
        f"There is no book {asked!r}: give journal= and book= of one of these: {known}."
    )


def _fault(path: str, judged: Sequence[Status]) -> str:
    """Return why the answer is no; empty for yes."""
    if path == "/healthz":
        return ""
    for one in judged:
        if one.state is State.NOTHING or bot_up(one) is False:
            return one.sentence
    if path == "/livez":
        return ""
    return next((one.sentence for one in judged if one.state not in READY), "")


def _line(status: Status) -> BookHealth:
    journal, book = name_of(status)
    state = status.state
    return BookHealth(
        journal, book, state.value, state.exit_code, BOT[bot_up(status)], status.sentence
    )
