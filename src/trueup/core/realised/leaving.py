"""Close a position in the book: count its deals, describe its exit, and follow its successors.

A position can also open and close between two snapshots: then entry and exit are recorded together.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.core.book import events
from trueup.core.deals import Comparison
from trueup.core.explain import (
    Exit,
    canceled_sentence,
    cash_sentence,
    exit_of,
    exit_sentence,
)
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Deal, DealKind, Entry, Position
from trueup.core.quantity import from_units, to_units
from trueup.core.realised.counting import label
from trueup.core.realised.recording import explain_change
from trueup.core.realised.reopening import (
    Successor,
    followed,
    moved_on,
    opened_by,
    went_on_sentence,
)
from trueup.core.recovery import BrokerShows

CAME_AND_WENT = "opened and closed between two readings: "
COUNTING = events.DealsRecorded | events.PositionClosed


def closing(
    local: Position,
    known: Comparison,
    successors: tuple[Successor, ...],
    inputs: SyncInputs,
    prefix: str = "",
) -> events.PositionClosed:
    """Return the event that closes a position in the book and counts its deals."""
    history = known.history
    news = known.news or history.deals
    begun_with = known.begun_with(0)
    # If the exit was counted before, the new deals show none; then describe the whole history.
    ended = exit_of(news, history.deals, begun_with) or exit_of(
        history.deals, history.deals, begun_with
    )
    because = prefix + _how_it_ended(known, ended, inputs.money_digits)
    if inputs.own_order(local.ticket) is not None:
        because += label(BrokerShows.CLOSED)
    # A broker's rollover or split is not the end of the trade, so name its continuation.
    if moved_on(history.deals, begun_with):
        because += went_on_sentence(successors)
    return events.PositionClosed(
        at_ns=inputs.now_ns,
        position=local,
        because=because,
        ended=ended,
        realised_units=known.realised_units,
        deals=known.tickets,
        booked=known.booked,
        went_on_as=tuple(successor.identifier for successor in successors if successor.is_ours),
    )


def _how_it_ended(known: Comparison, ended: Exit | None, digits: int | None) -> str:
    deals = known.history.deals
    sentences = [exit_sentence(ended, digits=digits)] if ended else []
    canceled = [canceled_sentence(deal) for deal in deals if deal.kind is DealKind.CANCELED]
    cash = [deal for deal in known.news if not deal.units and deal.kind is not DealKind.CANCELED]
    if canceled and cash and not ended:
        sentences.append(cash_sentence(cash, digits=digits))
    return "; ".join([*sentences, *canceled]) or "closed; its deals do not say how"


def follow(identifier: int, inputs: SyncInputs, outcome: Outcome, *, was_counted: bool) -> None:
    """Count the deals of a successor: the position as which a closed position continues.

    If the book has the successor, its deals count from now on, provided that the deals of the
    closed position counted (`was_counted`). If the successor never appeared in a snapshot, entry
    and exit are recorded.
    """
    # An adoption planned in this sync is not in the book yet.
    listed, holding = inputs.listed.get(identifier), inputs.book.holdings.get(identifier)
    is_adopted = any(
        isinstance(event, events.PositionAdopted) and event.position.identifier == identifier
        for event in outcome.events
    )
    if listed is not None and (holding is not None or is_adopted):
        # A successor whose deals count already is left to the rule for changed positions.
        if was_counted and (holding is None or not holding.deals):
            explain_change(listed, inputs, outcome)
    elif listed is None and holding is None and identifier not in inputs.book.closed:
        came_and_went(identifier, inputs, outcome)


def follow_recorded(inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals of the successors that the planned `DealsRecorded` events name.

    The book awaits these deals as soon as it applies such an event. Without this rule only the next
    sync would count the deals, by the same reading.
    """
    # A successor may have been closed and opened again as well: then its event is in the list too.
    for event in outcome.events:
        # The exact type: `isinstance` is slow for all other classes of event.
        if type(event) is not events.DealsRecorded:
            continue
        for identifier in event.went_on_as:
            if identifier not in counted_by(outcome):
                outcome.guard(event.position, follow, identifier, inputs, outcome, was_counted=True)


def came_and_went(
    identifier: int, inputs: SyncInputs, outcome: Outcome, prefix: str = CAME_AND_WENT
) -> None:
    """Record entry and exit of a position that no snapshot ever showed, or ask for its deals."""
    if identifier in counted_by(outcome):
        return
    known = inputs.compare(identifier)
    # Only a complete history proves that the position is closed; a cut history may hide the rest.
    position = None if known is None else as_opened(known.history.deals)
    if known is None or position is None or not known.adds_up_to(0):
        outcome.questions.append(identifier)
        return
    successors = followed(position, known, 0, inputs, outcome)
    # The successor may still appear; recording the exit now would end the trade in the book.
    if successors is None:
        outcome.questions.append(identifier)
        return
    adopted = events.PositionAdopted(at_ns=inputs.now_ns, position=position)
    closed = closing(position, known, successors, inputs, prefix)
    outcome.events += [adopted, closed]
    for successor in closed.went_on_as:
        follow(successor, inputs, outcome, was_counted=True)


def as_opened(deals: Iterable[Deal]) -> Position | None:
    """Return a position as its first deals opened it, or None if the entry deals are missing."""
    opening: list[Deal] = []
    for deal in deals:
        if deal.kind is DealKind.CASH or not deal.volume:
            continue
        # Deals after the first exit changed the position; they did not open it.
        if deal.entry is not Entry.IN:
            break
        opening.append(deal)
    if not opening:
        return None
    units = sum(to_units(deal.volume) for deal in opening)
    price = sum(deal.price * to_units(deal.volume) for deal in opening) / units
    return msgspec.structs.replace(
        opened_by(opening[0]), volume=from_units(units), price_open=from_units(to_units(price))
    )


def counted_by(outcome: Outcome) -> set[int]:
    """Return the identifiers of the positions whose deals the planned events count."""
    return {event.position.identifier for event in outcome.events if isinstance(event, COUNTING)}
