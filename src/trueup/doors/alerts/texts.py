"""The texts of messages; a message about one condition says the sentence of the status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from trueup.core.dates import iso
from trueup.doors.alerts.conditions import Condition, Edge, Notice
from trueup.observe.lines import age_words, cut, moment_of
from trueup.observe.status.findings import BADNESS
from trueup.observe.status.status import State

# Push services cut long texts; a person reads less.
LINES_MOST = 20
LINE_MOST = 300
WORDS = {
    State.DEGRADED: "retries by itself",
    State.NEEDS_PERSON: "needs you",
    State.HALTED: "halted",
}
OVER = "over"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to a person.

    Args:
        made_ns: when the message was made (ns of UTC).
        level: `degraded`, `needs_person` or `halted`, or `over` if every condition in it has ended.
        title: a few words.
        body: the text.
        conditions: the ids of the conditions.
        number: the number in the store; 0 before the message is kept.
    """

    made_ns: int
    level: str
    title: str
    body: str
    conditions: tuple[str, ...]
    number: int = 0


def message_of(notice: Notice, now_ns: int) -> Message:
    """Return the message about one condition."""
    condition = notice.condition
    level, words = _level([notice])
    return Message(
        made_ns=now_ns,
        level=level,
        title=f"{words} · {condition.book} · trueup",
        body="\n".join(_lines(notice, iso(now_ns))),
        conditions=(condition.id,),
    )


def message_of_many(
    notices: Sequence[Notice], now_ns: int, left_out: int = 0, occasion: str = ""
) -> Message:
    """Return one message about several conditions; `left_out` notices are only counted."""
    last: dict[str, Notice] = {}
    for one in notices:
        # Of one condition only the latest word.
        last[one.condition.id] = one
    told = sorted(last.values(), key=lambda one: (_rank(one), one.condition.since_ns))
    level, words = _level(told)
    now = iso(now_ns)
    lines = [f"{occasion}:"] if occasion else []
    lines += [cut(_line(one, now), LINE_MOST) for one in told[:LINES_MOST]]
    more = len(told) - LINES_MOST + left_out if len(told) > LINES_MOST else left_out
    if more:
        lines.append(f"and {more} more: `trueup status` has the state of each book")
    count = f"{len(told)} condition{'s' * (len(told) != 1)}"
    return Message(
        made_ns=now_ns,
        level=level,
        title=f"{words} · {count} · trueup",
        body="\n".join(lines),
        conditions=tuple(last),
    )


def _rank(notice: Notice) -> int:
    return len(BADNESS) if notice.ended_ns is not None else BADNESS[notice.condition.state]


def _level(notices: Sequence[Notice]) -> tuple[str, str]:
    """Return the level of a message and the words for it, by its worst notice."""
    worst = min(notices, key=_rank)
    if worst.ended_ns is not None:
        return OVER, OVER
    return worst.condition.state.value, WORDS[worst.condition.state]


def _lines(notice: Notice, now: str) -> Iterator[str]:
    condition = notice.condition
    since = moment_of(iso(condition.since_ns), now)
    if notice.ended_ns is None:
        yield condition.sentence
        if notice.works:
            yield notice.works
        if condition.need:
            yield f"To do: {condition.need}"
        worse = "; it is worse now" if notice.edge is Edge.ROSE else ""
        yield f"Since {since}{worse}."
    else:
        ended = moment_of(iso(notice.ended_ns), now)
        lasted = age_words((notice.ended_ns - condition.since_ns) / 1e9)
        yield f"Over: {condition.fact}."
        yield f"It began at {since} and ended at {ended}, after {lasted}."
        if notice.now:
            yield f"Now: {notice.now}"
    yield f"{condition.book}; condition {condition.id}"


def _line(notice: Notice, now: str) -> str:
    condition = notice.condition
    began = moment_of(iso(condition.since_ns), now)
    if notice.ended_ns is None:
        return f"{_tail(condition)} {condition.sentence} Since {began}."
    ended = moment_of(iso(notice.ended_ns), now)
    return f"{_tail(condition)} Over: {condition.fact}. From {began} to {ended}."


def _tail(condition: Condition) -> str:
    return f"{condition.id}, {condition.book}:"


def message_of_backlog(waiting: Sequence[Message], now_ns: int) -> Message:
    """Return one message in place of several that a receiver could not take before."""
    worst = min(waiting, key=lambda one: _RANKS.index(one.level))
    now = iso(now_ns)
    shown = waiting[-LINES_MOST:]
    lines = [f"{len(waiting)} messages could not be sent before:"]
    if len(waiting) > len(shown):
        lines.append(f"{len(waiting) - len(shown)} older ones are left out")
    for one in shown:
        ids = ", ".join(one.conditions[:1])
        first = one.body.splitlines()[0]
        lines.append(cut(f"{moment_of(iso(one.made_ns), now)} {ids}: {first}", LINE_MOST))
    words = worst.title.partition(" · ")[0]
    return Message(
        made_ns=now_ns,
        level=worst.level,
        title=f"{words} · {len(waiting)} messages · trueup",
        body="\n".join(lines),
        conditions=tuple(dict.fromkeys(key for one in waiting for key in one.conditions)),
    )


_RANKS = [*(state.value for state in BADNESS), OVER]
