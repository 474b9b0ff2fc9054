"""Collect the results of a sync's rules: events, holds and questions; and word the holds."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, ParamSpec

from trueup.core.book import events
from trueup.core.book.event_ids import step_id
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.model import (
    PendingOrder,
    Position,
    RowFault,
    describe,
    describe_at,
    describe_order,
)
from trueup.core.policy import Action
from trueup.core.quantity import format_price

NEXT_READING = "the next reading"
# A name of its own: Python 3.11 takes long to find a member of an enumeration, and a recovery asks
# for this member ten thousand times.
_APPLY = Action.APPLY

Rule = ParamSpec("Rule")


class Outcome:
    """The results of the rules for the differences of a snapshot.

    `questions` are identifiers of positions that wait for deals, and `order_questions` tickets of
    orders whose end is awaited. `rechecks` are identifiers of positions whose deals are due for
    another comparison, although no deal is known to be missing. `since_msc` is the time of the
    trade server's clock since which the account's whole history is wanted, 0 for no history.
    """

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.holds: list[Hold] = []
        self.questions: list[int] = []
        self.order_questions: list[int] = []
        self.rechecks: list[int] = []
        self.since_msc: int = 0
        self._lists: tuple[list[Any], ...] = (
            self.events,
            self.holds,
            self.questions,
            self.order_questions,
            self.rechecks,
        )

    def add(self, other: Outcome) -> None:
        """Append the results of another outcome."""
        self.events += other.events
        self.holds += other.holds
        self.questions += other.questions
        self.order_questions += other.order_questions
        self.rechecks += other.rechecks
        if other.since_msc:
            self.want_history(other.since_msc)

    def want_history(self, since_msc: int) -> None:
        """Ask for the account's history since a time of the trade server's clock."""
        self.since_msc = min(self.since_msc or since_msc, since_msc)

    def guard(
        self,
        row: Position | PendingOrder,
        rule: Callable[Rule, None],
        *args: Rule.args,
        **kwargs: Rule.kwargs,
    ) -> bool:
        """Apply the rule for a row; an error in the rule becomes a hold of this row only.

        If the error ended the sync, it would end every sync, and every start, at the same row.
        Returns whether the rule was applied without an error.
        """
        # Remember the lengths, because a failed rule may have added a part of its results.
        before = (
            len(self.events),
            len(self.holds),
            len(self.questions),
            len(self.order_questions),
            len(self.rechecks),
        )
        try:
            rule(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - an error of any kind concerns this row only
            for results, length in zip(self._lists, before, strict=True):
                del results[length:]
            self.holds.append(broken(row, error))
            return False
        return True

    def put_first(self, other: Outcome) -> None:
        """Insert the events and holds of another outcome before those of this outcome."""
        self.events[:0] = other.events
        self.holds[:0] = other.holds

    def propose(
        self,
        kind: str,
        row: Position | PendingOrder,
        action: Action,
        inputs: SyncInputs,
        *changes: events.Event,
    ) -> bool:
        """Add changes to the plan, or hold them if the policy requires an approval or an alert.

        Returns whether the changes were added.
        """
        if action is _APPLY:
            self.events += changes
            return True
        # The id depends on the row's figures, so an approval applies to exactly this difference.
        wanted = step_id(kind, row)
        if action is Action.ASK and wanted in inputs.approved:
            self.events += changes
            return True
        description = f"{kind} on ticket {row.ticket}, {_figures(kind, row)},"
        identifier = row.identifier if isinstance(row, Position) else row.ticket
        if action is Action.ASK:
            sentence, until = f"{description} waits for approval", f"trueup approve {wanted}"
            hold = Hold(row.symbol, sentence, until, identifier, HoldKind.ASK, id=wanted)
        else:
            # An alert has no id: only the policy can turn it into a correction.
            sentence = f"{description} is shown and not corrected, as the policy says"
            hold = Hold(row.symbol, sentence, "a person", identifier, HoldKind.ALERT)
        self.holds.append(hold)
        return False


def _figures(kind: str, row: Position | PendingOrder) -> str:
    """Write the figures that a person would approve."""
    if isinstance(row, PendingOrder):
        return describe_order(row)
    if kind != "protection":
        return describe_at(row)
    levels = (("stop loss", row.sl), ("take profit", row.tp))
    stops = ", ".join(f"{name} {format_price(p) if p else 'none'}" for name, p in levels)
    return f"{describe(row)}, {stops}"


def settling(
    row: Position | PendingOrder, sentence: str, touched_ns: int, inputs: SyncInputs
) -> Hold:
    """Return the hold of a difference inside its settle window."""
    return Hold(
        row.symbol,
        sentence,
        f"a reading {inputs.settle_ns // 1_000_000} ms after we touched it",
        row.identifier if isinstance(row, Position) else row.ticket,
        HoldKind.SETTLING,
        until_ns=inputs.asked_ns + inputs.settle_ns - inputs.waited.waited_ns(touched_ns),
    )


def broken(row: Position | PendingOrder, error: Exception) -> Hold:
    """Return the hold of a row whose rule raised an error."""
    identifier = row.identifier if isinstance(row, Position) else row.ticket
    return Hold(
        row.symbol,
        f"Ticket {row.ticket} could not be judged, {where_it_broke(error)}",
        "a reading that can be judged; please report this line",
        identifier,
        HoldKind.BROKEN,
    )


def where_it_broke(error: Exception) -> str:
    """Write an error and its place: ZeroDivisionError: division by zero (explain.py line 75)."""
    frames = traceback.extract_tb(error.__traceback__)
    place = ""
    if frames:
        name = frames[-1].filename.replace("\\", "/").rsplit("/", 1)[-1]
        place = f" ({name} line {frames[-1].lineno})"
    return f"{type(error).__name__}: {error}{place}"


def late(row: Position, sentence: str) -> Hold:
    """Return the hold of a difference after its settle window, if deals contradict the list."""
    until = "a list that agrees with what we did"
    return Hold(row.symbol, sentence, until, row.identifier, HoldKind.SETTLING)


def unread(row: Position | PendingOrder, fault: RowFault) -> Hold:
    """Return the hold of a row missing from the list, which the unreadable row may be."""
    sentence = f"Ticket {row.ticket} is not in the part of the list that can be read ({fault})"
    identifier = row.identifier if isinstance(row, Position) else row.ticket
    return Hold(row.symbol, sentence, "a whole reading", identifier, HoldKind.PARTIAL)


def newer(row: Position) -> Hold:
    """Return the hold of a position whose local facts are newer than the reading."""
    reason = f"Ticket {row.ticket} changed here after the broker was asked"
    return Hold(row.symbol, reason, NEXT_READING, row.identifier, HoldKind.NEWER)
