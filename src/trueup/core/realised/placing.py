"""Find the positions of executed orders whose deals are not all counted yet, and count the deals.

An order of ours can open a position that never appears in a snapshot: for example a pending order
that was filled and stopped out between two snapshots or while we were away, or a market order whose
position was closed by hand at once. On a netting account an order can go into a position that the
book does not have, because another trader closed the position that we knew or opened a position
before us. The broker's history shows where an order went: each deal names its order and its
position (MQL5 reference, DEAL_ORDER, DEAL_POSITION_ID), and each executed order names its position
(ORDER_POSITION_ID).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.core.book.holdings import Unbooked
from trueup.core.deals import Comparison
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Position, Side
from trueup.core.quantity import same, to_units
from trueup.core.realised.counting import deals_recorded
from trueup.core.realised.leaving import (
    CAME_AND_WENT,
    COUNTING,
    as_opened,
    came_and_went,
    counted_by,
)
from trueup.core.realised.recording import EXECUTED, explanation, recheck
from trueup.core.realised.reopening import APART_MSC


def explanations(inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the awaited deals that have arrived, and ask for the others again."""
    book = inputs.book
    if inputs.snapshot.evidence is None:
        return
    for position in book.unexplained.values():
        outcome.guard(position, _count_awaited, position, inputs, outcome)
    for ticket, wanted in book.unbooked.items():
        row = row_of(ticket, wanted)
        outcome.guard(row, placement, ticket, wanted, inputs, outcome)
    for identifier in inputs.rechecks:
        row = _last_seen(identifier, inputs) or row_of(identifier, Unbooked(""))
        outcome.guard(row, _recheck, identifier, inputs, outcome)


def _recheck(identifier: int, inputs: SyncInputs, outcome: Outcome) -> None:
    """Compare the deals of a position again; count them if the book never had the position."""
    if identifier in counted_by(outcome) or identifier in inputs.book.unexplained:
        return
    known, position = inputs.compare(identifier), _last_seen(identifier, inputs)
    if known is None:
        outcome.rechecks.append(identifier)
    elif position is not None:
        recheck(position, known, inputs, outcome)
    elif identifier not in inputs.listed and known.adds_up_to(0):
        came_and_went(identifier, inputs, outcome)


def _last_seen(identifier: int, inputs: SyncInputs) -> Position | None:
    """Return the last state of a position in the book, or from its deals; None if never held."""
    book = inputs.book
    kept = book.holdings.get(identifier) or book.recent.get(identifier)
    if kept is not None:
        return kept.position
    history = inputs.history(identifier) if identifier in book.closed else None
    return as_opened(history.deals) if history is not None else None


def row_of(ticket: int, wanted: Unbooked) -> Position:
    """Return a position row that stands for an order in the text of a hold."""
    return Position(ticket, wanted.symbol, Side.BUY, 0.0, 0.0, identifier=ticket)


def _count_awaited(position: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals of a position, whether the book has, had, or never had that position."""
    identifier = position.identifier
    if identifier in counted_by(outcome):
        return
    places = (inputs.book.holdings, inputs.book.closed, inputs.listed)
    if any(identifier in place for place in places):
        explanation(identifier, position, inputs, outcome)
    else:
        came_and_went(identifier, inputs, outcome)


def placement(
    ticket: int, wanted: Unbooked, inputs: SyncInputs, outcome: Outcome, prefix: str = CAME_AND_WENT
) -> None:
    """Count the deals of an executed order, in any position, or ask for the deals.

    `prefix` begins the sentence about a position that never appeared in a snapshot.
    """
    # Asking about other positions takes time, so ask only if the expected positions lack the order.
    expected = _expected_places(wanted, inputs)
    asked = list(expected)
    is_lost = not _may_have_all(ticket, wanted, asked, inputs)
    if is_lost and (inputs.book.nets or not expected):
        asked += _other_places(ticket, wanted, inputs, outcome)
    # The broker may have executed less than the book expects: then less completes the order.
    as_shown = _as_shown(ticket, wanted, inputs)
    is_found = _has_all(ticket, as_shown, asked, inputs)
    old, new = _with_deals_of(ticket, asked, inputs)
    for identifier, known in new.items():
        _count(identifier, known, inputs, outcome, prefix)
    # Deals that are not new are counted again only when the whole order is found, and all its new
    # deals are counted: that event then completes the order.
    if is_found and counted_by(outcome).issuperset(new):
        for identifier, known in old.items():
            _count(identifier, known, inputs, outcome, prefix)
    if _is_counted_by(ticket, as_shown, outcome):
        if as_shown != wanted:
            _mark_complete(ticket, outcome)
        return
    # Positions with a difference of their own are asked for by the rule for that difference.
    outcome.questions += [key for key in asked if key not in expected or _is_quiet(key, inputs)]


def _with_deals_of(
    ticket: int, asked: Iterable[int], inputs: SyncInputs
) -> tuple[dict[int, Comparison], dict[int, Comparison]]:
    """Return the positions with deals of an order: without and with something new to count."""
    old: dict[int, Comparison] = {}
    new: dict[int, Comparison] = {}
    for identifier in dict.fromkeys(asked):
        known = inputs.compare(identifier)
        if known is not None and any(deal.order == ticket for deal in known.history.deals):
            (new if known.differs else old)[identifier] = known
    return old, new


def _as_shown(ticket: int, wanted: Unbooked, inputs: SyncInputs) -> Unbooked:
    """Limit the units to count of an order to the volume that the broker says was executed."""
    past = inputs.past_order(ticket)
    if past is None or past.filled is None or past.state not in EXECUTED:
        return wanted
    return msgspec.structs.replace(wanted, units=min(wanted.units, to_units(past.filled)))


def _mark_complete(ticket: int, outcome: Outcome) -> None:
    """Mark an order as complete in the event with its last deals: no more deals will follow."""
    for index, event in reversed([*enumerate(outcome.events)]):
        if isinstance(event, COUNTING) and any(d.order == ticket for d in event.booked):
            complete = (*event.complete, ticket)
            outcome.events[index] = msgspec.structs.replace(event, complete=complete)
            return


def _other_places(
    ticket: int, wanted: Unbooked, inputs: SyncInputs, outcome: Outcome
) -> Iterable[int]:
    """Return other positions that an order may have gone into, by its own row or by its deals.

    Parts of a pending order can go into several positions, and the order names only the last.
    """
    outcome.order_questions.append(ticket)
    past = inputs.past_order(ticket)
    places = [ticket, past.position if past is not None else 0]
    if past is not None and not _may_have_all(ticket, wanted, filter(None, places), inputs):
        if inputs.late_deals is None and wanted.since_msc:
            outcome.want_history(wanted.since_msc - APART_MSC)
        places += [d.position for d in inputs.late_deals or () if d.order == ticket]
    return dict.fromkeys(filter(None, places))


def _expected_places(wanted: Unbooked, inputs: SyncInputs) -> dict[int, None]:
    """Return the positions that an order should have gone into by the state of the book."""
    expected = [wanted.position] if wanted.position else []
    if inputs.book.nets:
        expected += [h.position.identifier for h in inputs.book.holdings_in(wanted.symbol)]
    return dict.fromkeys(expected)


def _may_have_all(ticket: int, wanted: Unbooked, asked: Iterable[int], inputs: SyncInputs) -> bool:
    """Return whether these positions may contain the whole order, as far as they were read."""
    asked = list(asked)
    is_unread = any(inputs.history(identifier) is None for identifier in asked)
    return is_unread or _has_all(ticket, wanted, asked, inputs)


def _has_all(ticket: int, wanted: Unbooked, asked: Iterable[int], inputs: SyncInputs) -> bool:
    """Return whether the deals of these positions make up the executed volume of an order."""
    histories = (inputs.history(identifier) for identifier in dict.fromkeys(asked))
    own = [d for h in histories if h is not None for d in h.deals if d.order == ticket]
    return bool(own) and sum(to_units(deal.volume) for deal in own) >= wanted.units


def _is_quiet(identifier: int, inputs: SyncInputs) -> bool:
    """Return whether book and list agree about a position; else another rule asks for its deals."""
    holding, listed = inputs.book.holdings.get(identifier), inputs.listed.get(identifier)
    if holding is None or listed is None:
        return holding is None and listed is None
    return same(holding.position.net_volume, listed.net_volume)


def _count(
    identifier: int, known: Comparison, inputs: SyncInputs, outcome: Outcome, prefix: str
) -> None:
    """Count the deals of a position that an order went into, by the rule for that position."""
    is_held, is_listed = identifier in inputs.book.holdings, identifier in inputs.listed
    if identifier in counted_by(outcome) or is_held != is_listed:
        return  # already counted, or the rule for ghosts or zombies will count the deals
    if is_held:
        explanation(identifier, inputs.listed[identifier], inputs, outcome)
    elif known.all_units != 0:
        return  # the broker does not show its last deals yet
    elif identifier in inputs.book.closed:
        position = _last_seen(identifier, inputs)
        if position is None:
            return
        recorded = deals_recorded(position, 0, known, inputs, outcome)
        if recorded is not None:
            outcome.events.append(recorded)
    else:
        came_and_went(identifier, inputs, outcome, prefix)


def _is_counted_by(ticket: int, wanted: Unbooked, outcome: Outcome) -> bool:
    """Return whether the planned events count all deals of an order."""
    own = {
        deal.ticket: deal.lots
        for event in outcome.events
        if isinstance(event, COUNTING)
        for deal in event.booked
        if deal.order == ticket
    }
    return bool(own) and (0 in own.values() or abs(sum(own.values())) >= wanted.units)
