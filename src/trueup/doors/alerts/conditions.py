"""Conditions: something that is not well with a book, from its beginning to its end.

Pure functions of observations and dates. A condition is a kind of finding in a book, so ten
thousand differences are one condition. A condition is told once it has lasted for a while, again
only if it gets worse, and once more when it is over. It is over when it has stayed away for a
while, so that trouble which comes and goes is one condition too.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from trueup.observe.lines import account_words
from trueup.observe.status.findings import BADNESS, FIRST, SILENT, UNREADABLE
from trueup.observe.status.status import FindingRow, State, Status

JOURNAL, ORDERS, UNSEEN = "journal", "orders", "unseen"
# A bot that has not read the broker yet cannot know whether anything else is over.
_KNOWN_AT_START = frozenset({SILENT, UNREADABLE, JOURNAL})
_KNOWN_WITHOUT_BOT = frozenset({SILENT, UNREADABLE})
OF_EARLIER_RELEASE = "state"


class Edge(enum.Enum):
    """What happened to a condition."""

    BEGAN = "began"
    ROSE = "rose"
    """It got worse: a bot that retried by itself needs a person now, or entries were halted."""
    ENDED = "ended"
    PASSED = "passed"
    """It began and ended before anything of it was told."""


class Rules(NamedTuple):
    """When a condition is told.

    Args:
        after_ns: how long a condition lasts before it is told.
        calm_ns: how long a condition stays away before it is over.
        least: the least bad state that is told.
    """

    after_ns: int
    calm_ns: int
    least: State = State.DEGRADED


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that is not over yet.

    Args:
        id: the same in every message about the condition.
        book: the name of the book, for people.
        kind: the kind of finding.
        state: the worst state so far.
        sentence: the finding with who has to act, as the status has it.
        fact: the finding alone.
        need: the action for a person.
        since_ns: when the condition began (ns of UTC).
        seen_ns: when it was seen first, which is later: a bot that was stopped for an hour has not
            read the broker for an hour, and reads it at once.
        told: the worst state that was told, None before the first message.
        gone_ns: since when the condition stays away, None while it is there.
        is_dated: whether `gone_ns` is the very moment, and not the first look without it.
    """

    id: str
    book: str
    kind: str
    state: State
    sentence: str
    fact: str
    need: str = ""
    since_ns: int
    seen_ns: int
    told: State | None = None
    gone_ns: int | None = None
    is_dated: bool = False


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell about a condition.

    `ended_ns` is when the condition ended (ns of UTC), None if it has not. `now` is the sentence of
    the book's status, and `works` what still works, both as of the notice and empty if not known.
    """

    edge: Edge
    condition: Condition
    ended_ns: int | None = None
    now: str = ""
    works: str = ""


class Observation(NamedTuple):
    """What is not well with a book at a moment.

    Args:
        book: the book's name, for people.
        at_ns: the moment (ns of UTC).
        rows: the findings by their kinds.
        covers: the kinds of which the observation knows that they are over if they are missing;
            None for all but those that it is blind to.
        blind_to: these kinds, if `covers` is None.
        is_dated: whether everything in it began or ended at this very moment.
        now: the sentence of the status; empty if there is none.
        works: what still works.
    """

    book: str
    at_ns: int
    rows: Mapping[str, FindingRow]
    covers: frozenset[str] | None = None
    blind_to: frozenset[str] = frozenset()
    is_dated: bool = False
    now: str = ""
    works: str = ""


def observed(status: Status, at_ns: int, book: str = "") -> Observation:
    """Return what a status shows; `book` is the name of the book, if it is known."""
    rows: dict[str, FindingRow] = {}
    # The worst first, and a book has one condition of a kind.
    for row in status.findings:
        if row.kind == SILENT and row.since is None:
            row = msgspec.structs.replace(row, since=status.since)
        rows.setdefault(row.kind, row)
    if not rows and status.source == "bot" and status.state is not State.AGREES:
        # A bot of an earlier release tells its state and its sentence alone.
        rows[OF_EARLIER_RELEASE] = FindingRow(
            kind=OF_EARLIER_RELEASE,
            state=status.state,
            sentence=status.sentence,
            fact=status.sentence.rstrip("."),
            need=status.needs[0] if status.needs else "",
            since=status.since,
        )
    return Observation(
        book or book_words(status),
        at_ns,
        rows,
        covers=_covered(status, rows),
        # A broker that is not believed does not say whether it takes orders.
        blind_to=frozenset({ORDERS} if UNSEEN in rows else ()),
        now=status.sentence,
        works=status.works,
    )


def book_words(status: Status) -> str:
    """Return the name of a book for people: its account and its stream."""
    account = account_words(status.account, status.trade_mode)
    name = status.stream or status.symbol
    return f"{account}, book {name}" if name else account


def judged(
    key: str, known: Mapping[str, Condition], seen: Observation, rules: Rules
) -> tuple[dict[str, Condition], list[Notice]]:
    """Return the conditions of a book after an observation, by their kinds, and what is to tell.

    Args:
        key: tells the book from every other; two journals may have books of one name.
        known: the conditions before.
        seen: the observation.
        rules: when a condition is told.
    """
    conditions: dict[str, Condition] = {}
    notices: list[Notice] = []
    for kind in (*seen.rows, *(kind for kind in known if kind not in seen.rows)):
        condition = _seen(key, known.get(kind), kind, seen)
        edge = None
        if condition.gone_ns is None:
            # What cannot be seen now may last, and is not said to.
            if kind in seen.rows:
                condition, edge = _told(condition, seen.at_ns, rules)
            conditions[kind] = condition
        elif 0 <= seen.at_ns - condition.gone_ns < rules.calm_ns:
            conditions[kind] = condition
        else:
            edge = _end_of(condition, rules)
        if edge is not None:
            notices.append(
                Notice(
                    edge=edge,
                    condition=condition,
                    ended_ns=condition.gone_ns,
                    now=seen.now,
                    works=seen.works,
                )
            )
    return conditions, notices


def _covered(status: Status, rows: Mapping[str, FindingRow]) -> frozenset[str] | None:
    if status.source == "journal":
        # While the journal cannot be read nothing is known, and a bot that is silent stays so.
        return frozenset() if UNREADABLE in rows else _KNOWN_WITHOUT_BOT
    if FIRST in rows or status.checked is None:
        return _KNOWN_AT_START
    return None


def _seen(key: str, known: Condition | None, kind: str, seen: Observation) -> Condition:
    """Return a condition as an observation shows it."""
    row = seen.rows.get(kind)
    if row is None:
        assert known is not None
        knows = kind not in seen.blind_to if seen.covers is None else kind in seen.covers
        if not knows or known.gone_ns is not None:
            return known
        return msgspec.structs.replace(known, gone_ns=seen.at_ns, is_dated=seen.is_dated)
    if known is None:
        since_ns = seen.at_ns if row.since is None else min(seen.at_ns, _ns(row.since))
        return Condition(
            id=_id(key, kind, since_ns, seen.at_ns),
            book=seen.book,
            kind=kind,
            state=row.state,
            sentence=row.sentence,
            fact=row.fact,
            need=row.need,
            since_ns=since_ns,
            seen_ns=seen.at_ns,
        )
    known = msgspec.structs.replace(known, gone_ns=None, is_dated=False)
    is_worse = BADNESS[row.state] < BADNESS[known.state]
    if not is_worse and known.told is not None:
        # The message about the end names what the first message named.
        return known
    state = row.state if is_worse else known.state
    return msgspec.structs.replace(
        known, state=state, sentence=row.sentence, fact=row.fact, need=row.need
    )


def _told(condition: Condition, at_ns: int, rules: Rules) -> tuple[Condition, Edge | None]:
    """Return a condition that is there, and whether that is to be told."""
    # A clock that was set back by more than the wait must not make the wait longer.
    if not _counts(condition, rules) or abs(at_ns - condition.seen_ns) < rules.after_ns:
        return condition, None
    if condition.told is None:
        edge = Edge.BEGAN
    elif BADNESS[condition.state] < BADNESS[condition.told]:
        edge = Edge.ROSE
    else:
        return condition, None
    return msgspec.structs.replace(condition, told=condition.state), edge


def _end_of(condition: Condition, rules: Rules) -> Edge | None:
    if condition.told is not None:
        return Edge.ENDED
    assert condition.gone_ns is not None
    # Between two looks it may have ended at once; only the journal knows how long it has lasted.
    has_lasted = condition.is_dated and condition.gone_ns - condition.seen_ns >= rules.after_ns
    return Edge.PASSED if has_lasted and _counts(condition, rules) else None


def _counts(condition: Condition, rules: Rules) -> bool:
    return BADNESS[condition.state] <= BADNESS[rules.least]


def _id(key: str, kind: str, since_ns: int, at_ns: int) -> str:
    text = f"{key} {kind} {since_ns} {at_ns}"
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=4).hexdigest()


def _ns(moment: str) -> int:
    parsed = dt.datetime.fromisoformat(moment)
    return round(parsed.timestamp() * 1_000) * 1_000_000
