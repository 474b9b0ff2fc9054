"""From differences to a plan: what will be changed, and what is seen and left alone.

`plan` is pure: the same book, snapshot and policy give the same plan. It closes nothing on a
partial reading, and it never judges a position whose local facts are newer than the snapshot.
"""

from __future__ import annotations

import msgspec

from trueup.core import events
from trueup.core.book import Book, Holding
from trueup.core.diff import Diff, diff
from trueup.core.doubt import settling_event, waiting_sentence, weigh
from trueup.core.model import Position, Snapshot
from trueup.core.policy import Policy

UNPROVEN = "absent from the broker's list; this gateway shows no deals, so unproven"


class Hold(msgspec.Struct, frozen=True):
    """A difference we see and refuse to act on yet: why, and what would release it."""

    symbol: str
    reason: str
    until: str
    identifier: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What a sync will do: `events` for the journal and the book, `holds` for the reader."""

    events: tuple[events.Event, ...] = ()
    holds: tuple[Hold, ...] = ()
    foreign: int = 0


def plan(
    book: Book,
    snapshot: Snapshot,
    policy: Policy,
    *,
    asked_version: int,
    asked_ns: int,
    now_ns: int,
) -> Plan:
    """Return what brings the book into agreement with the broker.

    `asked_version` is the book's version, and `asked_ns` the time (ns), when the snapshot was
    asked for.
    """
    found = diff(book.holdings, snapshot, policy)
    if found == Diff(foreign=found.foreign) and not book.in_doubt:
        return Plan(foreign=found.foreign)
    doubts = weigh(book, found, snapshot, policy, asked_ns)
    settled = [event for doubt in doubts if (event := settling_event(doubt, now_ns))]
    waiting = [
        Hold(doubt.order.symbol, waiting_sentence(doubt), "a sync that shows what became of it")
        for doubt in doubts
        if settling_event(doubt, now_ns) is None
    ]
    corrections, holds = _correct(book, found, snapshot, asked_version, now_ns)
    return Plan((*settled, *corrections), (*waiting, *holds), found.foreign)


def _correct(
    book: Book, found: Diff, snapshot: Snapshot, asked_version: int, now_ns: int
) -> tuple[list[events.Event], list[Hold]]:
    done: list[events.Event] = []
    holds: list[Hold] = []
    for zombie in found.zombies:
        if book.closed.get(zombie.remote.identifier, 0) > asked_version:
            holds.append(_newer(zombie.remote))
        else:
            done.append(events.PositionAdopted(at_ns=now_ns, position=zombie.remote))
    for drift in found.drifts:
        if book.holdings[drift.local.identifier].version > asked_version:
            holds.append(_newer(drift.local))
        else:
            done.append(
                events.PositionCorrected(
                    at_ns=now_ns, local=drift.local, remote=drift.remote, fields=drift.fields
                )
            )
    for ghost in found.ghosts:
        hold = _ghost_hold(book.holdings[ghost.local.identifier], snapshot, asked_version)
        if hold is not None:
            holds.append(hold)
        else:
            done.append(_close(ghost.local, now_ns))
    return done, holds


def _close(local: Position, now_ns: int) -> events.PositionClosed:
    return events.PositionClosed(at_ns=now_ns, position=local, because=UNPROVEN, unproven=True)


def _ghost_hold(holding: Holding, snapshot: Snapshot, asked_version: int) -> Hold | None:
    if holding.version > asked_version:
        return _newer(holding.position)
    if snapshot.faults:
        return Hold(
            holding.position.symbol,
            f"Ticket {holding.position.ticket} is not in a list that has unreadable rows",
            "a whole reading",
            holding.position.identifier,
        )
    return None


def _newer(local: Position) -> Hold:
    return Hold(
        local.symbol,
        f"Ticket {local.ticket} changed here after the broker was asked",
        "the next reading",
        local.identifier,
    )
