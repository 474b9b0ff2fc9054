"""How a position leaves the book: its deals counted, its end told, and what goes on of it followed.

A position can also come and go between two looks: then entry and exit are recorded together.
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
    again: tuple[Successor, ...],
    inputs: SyncInputs,
    prefix: str = "",
) -> events.PositionClosed:
    """Return the event by which a position leaves the book, its deals counted."""
    history = known.history
    news = known.news or history.deals
    begun_with = known.begun_with(0)
    ended = exit_of(news, history.deals, begun_with) or exit_of(
        history.deals, history.deals, begun_with
    )
    because = prefix + _how_it_ended(known, ended, inputs.money_digits)
    if inputs.own_order(local.ticket) is not None:
        because += label(BrokerShows.CLOSED)
    if moved_on(history.deals, begun_with):
        because += went_on_sentence(again)
    return events.PositionClosed(
        at_ns=inputs.now_ns,
        position=local,
        because=because,
        ended=ended,
        realised_units=known.realised_units,
        deals=known.tickets,
        booked=known.booked,
        went_on_as=tuple(one.identifier for one in again if one.is_ours),
    )


def _how_it_ended(known: Comparison, ended: Exit | None, digits: int | None) -> str:
    deals = known.history.deals
    said = [exit_sentence(ended, digits=digits)] if ended else []
    canceled = [canceled_sentence(deal) for deal in deals if deal.kind is DealKind.CANCELED]
    cash = [deal for deal in known.news if not deal.units and deal.kind is not DealKind.CANCELED]
    if canceled and cash and not ended:
        said.append(cash_sentence(cash, digits=digits))
    return "; ".join([*said, *canceled]) or "closed; its deals do not say how"


def follow(identifier: int, inputs: SyncInputs, outcome: Outcome, *, was_counted: bool) -> None:
    """Count the deals of what a position goes on as.

    Where the book has that they count from here on, if those of the position did (`was_counted`);
    where no look ever showed it, entry and exit are recorded.
    """
    listed, holding = inputs.listed.get(identifier), inputs.book.holdings.get(identifier)
    is_adopted = any(
        isinstance(event, events.PositionAdopted) and event.position.identifier == identifier
        for event in outcome.events
    )
    if listed is not None and (holding is not None or is_adopted):
        if was_counted and (holding is None or not holding.deals):
            explain_change(listed, inputs, outcome)
    elif listed is None and holding is None and identifier not in inputs.book.closed:
        came_and_went(identifier, inputs, outcome)


def came_and_went(
    identifier: int, inputs: SyncInputs, outcome: Outcome, told: str = CAME_AND_WENT
) -> None:
    """Record entry and exit of a position that no look ever showed, or ask for its deals."""
    if identifier in told_of(outcome):
        return
    known = inputs.compare(identifier)
    position = None if known is None else came_as(known.history.deals)
    if known is None or position is None or not known.adds_up_to(0):
        outcome.questions.append(identifier)
        return
    again = followed(position, known, 0, inputs, outcome)
    if again is None:
        outcome.questions.append(identifier)
        return
    adopted = events.PositionAdopted(at_ns=inputs.now_ns, position=position)
    closed = closing(position, known, again, inputs, told)
    outcome.events += [adopted, closed]
    for successor in closed.went_on_as:
        follow(successor, inputs, outcome, was_counted=True)


def came_as(deals: Iterable[Deal]) -> Position | None:
    """Return a position as its first deals opened it, or None where they do not show."""
    opening: list[Deal] = []
    for deal in deals:
        if deal.kind is DealKind.CASH or not deal.volume:
            continue
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


def told_of(outcome: Outcome) -> set[int]:
    """Return the positions whose deals are counted by what is planned."""
    return {event.position.identifier for event in outcome.events if isinstance(event, COUNTING)}
