"""Orders that were executed and whose deals are not all counted yet: which position they went into.

An order of ours can open a position that no look ever shows: a pending order that was filled and
stopped out between two looks or while we were away, a market order that a hand closed at once. On a
netting account it can go into a position that the book did not have, because somebody closed the
one we knew or opened one before us. The broker's history tells: each deal names its order and its
position (MQL5 reference, DEAL_ORDER, DEAL_POSITION_ID), and each executed order its position
(ORDER_POSITION_ID).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import msgspec

from trueup.core.book.holdings import Unbooked
from trueup.core.deals import Comparison
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Position, Side
from trueup.core.quantity import same, to_units
from trueup.core.realised.counting import deals_recorded
from trueup.core.realised.leaving import CAME_AND_WENT, COUNTING, came_and_went, came_as, told_of
from trueup.core.realised.recording import EXECUTED, explanation, recheck
from trueup.core.realised.reopening import APART_MSC


def explanations(inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals that were still to come, and ask for those that still are."""
    book = inputs.book
    if inputs.snapshot.evidence is None:
        return
    for position in book.unexplained.values():
        outcome.guard(position, partial(_awaited, position, inputs, outcome))
    for ticket, wanted in book.unbooked.items():
        row = row_of(ticket, wanted)
        outcome.guard(row, partial(placement, ticket, wanted, inputs, outcome))
    for identifier in inputs.rechecks:
        row = _last_seen(identifier, inputs) or row_of(identifier, Unbooked(""))
        outcome.guard(row, partial(_recheck, identifier, inputs, outcome))


def _recheck(identifier: int, inputs: SyncInputs, outcome: Outcome) -> None:
    """Compare the deals of a position again, or count them if the book never had it."""
    if identifier in told_of(outcome) or identifier in inputs.book.unexplained:
        return
    known, position = inputs.compare(identifier), _last_seen(identifier, inputs)
    if known is None:
        outcome.rechecks.append(identifier)
    elif position is not None:
        recheck(position, known, inputs, outcome)
    elif identifier not in inputs.listed and known.adds_up_to(0):
        came_and_went(identifier, inputs, outcome)


def _last_seen(identifier: int, inputs: SyncInputs) -> Position | None:
    """Return a position as the book had it last, or as its deals tell, None if it never had it."""
    book = inputs.book
    kept = book.holdings.get(identifier) or book.recent.get(identifier)
    if kept is not None:
        return kept.position
    history = inputs.history(identifier) if identifier in book.closed else None
    return came_as(history.deals) if history is not None else None


def row_of(ticket: int, wanted: Unbooked) -> Position:
    """Return what stands for an order in the words of a hold."""
    return Position(ticket, wanted.symbol, Side.BUY, 0.0, 0.0, identifier=ticket)


def _awaited(position: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals of one position, whether the book has it, had it, or never did."""
    identifier = position.identifier
    if identifier in told_of(outcome):
        return
    places = (inputs.book.holdings, inputs.book.closed, inputs.listed)
    if any(identifier in place for place in places):
        explanation(identifier, position, inputs, outcome)
    else:
        came_and_went(identifier, inputs, outcome)


def placement(
    ticket: int, wanted: Unbooked, inputs: SyncInputs, outcome: Outcome, told: str = CAME_AND_WENT
) -> None:
    """Count the deals of one executed order, in whatever position they are, or ask for them.

    `told` begins what is said of a position that no look ever showed.
    """
    guesses = _guesses(wanted, inputs)
    asked = list(guesses)
    is_lost = not _may_have_all(ticket, wanted, asked, inputs)
    if is_lost and (inputs.book.nets or not guesses):
        asked += _elsewhere(ticket, wanted, inputs, outcome)
    as_shown = _as_shown(ticket, wanted, inputs)
    is_found = _has_all(ticket, as_shown, asked, inputs)
    for identifier in dict.fromkeys(asked):
        known = inputs.compare(identifier)
        has_some = known is not None and any(d.order == ticket for d in known.history.deals)
        if known is not None and has_some and (known.differs or is_found):
            _count(identifier, known, inputs, outcome, told)
    if _is_counted_by(ticket, as_shown, outcome):
        if as_shown != wanted:
            _complete(ticket, outcome)
        return
    outcome.questions += [key for key in asked if key not in guesses or _is_quiet(key, inputs)]


def _as_shown(ticket: int, wanted: Unbooked, inputs: SyncInputs) -> Unbooked:
    """Return what there is to count of an order: no more than the broker says was executed."""
    past = inputs.past_order(ticket)
    if past is None or past.filled is None or past.state not in EXECUTED:
        return wanted
    return msgspec.structs.replace(wanted, units=min(wanted.units, to_units(past.filled)))


def _complete(ticket: int, outcome: Outcome) -> None:
    """Note with its last deals that no more of an order are to come than are counted."""
    for index, event in reversed([*enumerate(outcome.events)]):
        if isinstance(event, COUNTING) and any(d.order == ticket for d in event.booked):
            complete = (*event.complete, ticket)
            outcome.events[index] = msgspec.structs.replace(event, complete=complete)
            return


def _elsewhere(
    ticket: int, wanted: Unbooked, inputs: SyncInputs, outcome: Outcome
) -> Iterable[int]:
    """Return where else an order may have gone: as it says itself, or as its deals do.

    Parts of one pending order can go into several positions, of which it names the last.
    """
    outcome.order_questions.append(ticket)
    past = inputs.past_order(ticket)
    places = [ticket, past.position if past is not None else 0]
    if past is not None and not _may_have_all(ticket, wanted, filter(None, places), inputs):
        if inputs.late_deals is None and wanted.since_msc:
            outcome.want_history(wanted.since_msc - APART_MSC)
        places += [d.position for d in inputs.late_deals or () if d.order == ticket]
    return dict.fromkeys(filter(None, places))


def _guesses(wanted: Unbooked, inputs: SyncInputs) -> dict[int, None]:
    """Return the positions that an order should have gone into, as far as the book knows."""
    guesses = [wanted.position] if wanted.position else []
    if inputs.book.nets:
        guesses += [h.position.identifier for h in inputs.book.holdings_in(wanted.symbol)]
    return dict.fromkeys(guesses)


def _may_have_all(ticket: int, wanted: Unbooked, asked: Iterable[int], inputs: SyncInputs) -> bool:
    """Return whether an order may be in these positions and no others, as far as they are read."""
    asked = list(asked)
    is_unread = any(inputs.history(identifier) is None for identifier in asked)
    return is_unread or _has_all(ticket, wanted, asked, inputs)


def _has_all(ticket: int, wanted: Unbooked, asked: Iterable[int], inputs: SyncInputs) -> bool:
    """Return whether the deals of these positions have all that was executed of an order."""
    histories = (inputs.history(identifier) for identifier in dict.fromkeys(asked))
    own = [d for h in histories if h is not None for d in h.deals if d.order == ticket]
    return bool(own) and sum(to_units(deal.volume) for deal in own) >= wanted.units


def _is_quiet(identifier: int, inputs: SyncInputs) -> bool:
    """Return whether book and list agree about a position: otherwise its own rule asks for it."""
    holding, listed = inputs.book.holdings.get(identifier), inputs.listed.get(identifier)
    if holding is None or listed is None:
        return holding is None and listed is None
    return same(holding.position.net_volume, listed.net_volume)


def _count(
    identifier: int, known: Comparison, inputs: SyncInputs, outcome: Outcome, told: str
) -> None:
    """Count the deals of a position that an order went into, by the rule that it falls under."""
    is_held, is_listed = identifier in inputs.book.holdings, identifier in inputs.listed
    if identifier in told_of(outcome) or is_held != is_listed:
        return  # counted already, or to be, as a ghost or a zombie
    if is_held:
        explanation(identifier, inputs.listed[identifier], inputs, outcome)
    elif not known.adds_up_to(0):
        return  # its last deals are still to come
    elif identifier in inputs.book.closed:
        position = _last_seen(identifier, inputs)
        if position is None:
            return
        recorded = deals_recorded(position, 0, known, inputs, outcome)
        if recorded is not None:
            outcome.events.append(recorded)
    else:
        came_and_went(identifier, inputs, outcome, told)


def _is_counted_by(ticket: int, wanted: Unbooked, outcome: Outcome) -> bool:
    """Return whether what is planned counts all deals of an order."""
    own = {
        deal.ticket: deal.lots
        for event in outcome.events
        if isinstance(event, COUNTING)
        for deal in event.booked
        if deal.order == ticket
    }
    return bool(own) and (0 in own.values() or abs(sum(own.values())) >= wanted.units)
