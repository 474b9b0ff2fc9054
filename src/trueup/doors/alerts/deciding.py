"""Decide which messages are sent now: a pure function of the memory, observations and a date.

A notice that need not wake anybody waits for the end of the quiet hours, and a notice too many
waits for room. What has waited is sent as one message, the digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from trueup.doors.alerts.conditions import Condition, Notice, Observation, Rules, judged
from trueup.doors.alerts.quiet import QuietHours
from trueup.doors.alerts.texts import Message, message_of, message_of_many
from trueup.observe.status.findings import BADNESS
from trueup.observe.status.status import State

HOUR_NS = 3_600 * 1_000_000_000
# If more come at once, they are one message.
APART_MOST = 3
# How often notices that were too many are told: those that need a person, and the others.
URGENT_EVERY_NS, DIGEST_EVERY_NS = HOUR_NS // 30, HOUR_NS // 6
HELD_MOST = 500


class BookMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a book.

    Args:
        name: the name for people.
        place: the journal: a path, or that it is on the server of the settings; empty if it is not
            known.
        stream: the name of the book in the journal.
        position: the position of the last event that was read; None if none was.
        conditions: the conditions that are not over, by their kinds.
    """

    name: str
    place: str = ""
    stream: str = ""
    position: int | None = None
    conditions: dict[str, Condition] = {}


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is remembered.

    Args:
        books: the books by their keys.
        held: notices that wait, the oldest first.
        left_out: the number of notices that were too many to wait.
        told_ns: when the messages of the last hour were made (ns of UTC).
        digest_ns: when the last digest was made.
        was_quiet: whether the last decision was in the quiet hours.
    """

    books: dict[str, BookMemory] = {}
    held: tuple[Notice, ...] = ()
    left_out: int = 0
    told_ns: tuple[int, ...] = ()
    digest_ns: int = 0
    was_quiet: bool = False


class Policy(NamedTuple):
    """When conditions are told.

    Args:
        rules: for each condition.
        quiet: the quiet hours, None for none.
        hourly: the most messages of an hour; more are told together.
    """

    rules: Rules
    quiet: QuietHours | None = None
    hourly: int = 20


def decide(
    memory: Memory, seen: Mapping[str, Sequence[Observation]], now_ns: int, policy: Policy
) -> tuple[Memory, list[Message]]:
    """Return the memory after observations of books, and the messages to send now.

    Args:
        memory: the memory; it knows each book of `seen`.
        seen: the observations by the keys of their books, each in the order of their times.
        now_ns: the date (ns of UTC).
        policy: the rules.
    """
    books = dict(memory.books)
    notices: list[Notice] = []
    for key, observations in seen.items():
        conditions: Mapping[str, Condition] = books[key].conditions
        for one in observations:
            conditions, found = judged(key, conditions, one, policy.rules)
            notices += found
        books[key] = msgspec.structs.replace(books[key], conditions=dict(conditions))
    # What began and ended since the last decision is told once, with both times.
    latest = {one.condition.id: one for one in notices}
    return _sent(
        msgspec.structs.replace(memory, books=books), list(latest.values()), now_ns, policy
    )


def _sent(
    memory: Memory, notices: Sequence[Notice], now_ns: int, policy: Policy
) -> tuple[Memory, list[Message]]:
    is_quiet = policy.quiet is not None and policy.quiet.has(now_ns)
    told_ns = [at_ns for at_ns in memory.told_ns if 0 <= now_ns - at_ns < HOUR_NS]
    ready = [one for one in notices if not is_quiet or _wakes(one)]
    held = [*memory.held, *(one for one in notices if is_quiet and not _wakes(one))]
    messages: list[Message] = []
    if len(ready) > APART_MOST and len(told_ns) < policy.hourly:
        messages.append(message_of_many(ready, now_ns))
    else:
        room = max(0, policy.hourly - len(told_ns))
        messages += [message_of(one, now_ns) for one in ready[:room]]
        held += ready[room:]
    told_ns += [now_ns] * len(messages)
    # What waited about a condition is out of date once a newer word of it is sent.
    sent = {key for message in messages for key in message.conditions}
    memory = _cut(memory, [one for one in held if one.condition.id not in sent])
    due = [one for one in memory.held if not is_quiet or _wakes(one)]
    is_urgent = any(_wakes(one) and one.ended_ns is None for one in due)
    every_ns = URGENT_EVERY_NS if is_urgent else DIGEST_EVERY_NS
    is_time = not 0 <= now_ns - memory.digest_ns < every_ns
    if due and (is_time or (memory.was_quiet and not is_quiet)):
        messages.append(message_of_many(due, now_ns, memory.left_out, _occasion(memory, policy)))
        rest = tuple(one for one in memory.held if one not in due)
        memory = msgspec.structs.replace(memory, held=rest, left_out=0, digest_ns=now_ns)
    memory = msgspec.structs.replace(memory, told_ns=tuple(told_ns), was_quiet=is_quiet)
    return memory, messages


def _cut(memory: Memory, held: Sequence[Notice]) -> Memory:
    kept = tuple(held[-HELD_MOST:])
    left_out = memory.left_out + len(held) - len(kept)
    return msgspec.structs.replace(memory, held=kept, left_out=left_out)


def _occasion(memory: Memory, policy: Policy) -> str:
    if memory.was_quiet and policy.quiet is not None:
        return f"In the quiet hours, {policy.quiet.words}"
    return "Told together, since there were many messages"


def _wakes(notice: Notice) -> bool:
    """Return whether a notice is sent in the quiet hours too."""
    return BADNESS[notice.condition.state] <= BADNESS[State.NEEDS_PERSON]
