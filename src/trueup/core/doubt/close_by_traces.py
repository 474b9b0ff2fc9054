"""Find the trace of a close-by with a lost reply: an order that closes two positions by each other.

The broker writes its own comment on such an order (MQL5 book, "Close by"), so there is no token to
look for. The evidence is the deals: the order makes one deal in each of the two positions, with the
entry OUT_BY. A close-by ends the smaller position, so two positions are closed by each other once
at most. Deals of a program after our sending are therefore those of our order, or have exactly its
effect. If a person did it by hand, our order was refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from trueup.core.book.book import Book
from trueup.core.book.order import Order
from trueup.core.doubt.absent import absent
from trueup.core.doubt.lookalikes import earliest_msc
from trueup.core.doubt.recorded_request import not_by_record, recorded
from trueup.core.doubt.trace import MAY_BE_LOADING, Trace, not_known
from trueup.core.gateway_record import RequestState
from trueup.core.model import Deal, DealReason, Entry, Evidence
from trueup.core.recovery import BrokerShows

BY_HAND = frozenset({DealReason.CLIENT, DealReason.MOBILE, DealReason.WEB})


def of_close_by(order: Order, evidence: Evidence, book: Book) -> Trace:
    """Return the trace of a close-by in a snapshot with evidence."""
    not_done = not_by_record(order, evidence)
    if not_done is not None and not_done.is_final:
        return not_done
    for first, second in _pairs(order, evidence):
        return _of_pair(order, first, second, evidence)
    if not_done is not None:
        return not_done
    request = recorded(order, evidence)
    # A known outcome proves the execution, so wait for the broker instead of giving up.
    if request is not None and request.state is RequestState.SETTLED:
        words = f"{request.status} by the gateway's record; the broker does not show the deals yet"
        return Trace(BrokerShows.UNSEEN, words)
    if evidence.history is None:
        return Trace(BrokerShows.UNSEEN, "the history could not be read")
    # A loading terminal shows an incomplete history, in which an absence proves nothing.
    if not evidence.account.trade_allowed:
        return Trace(BrokerShows.UNSEEN, MAY_BE_LOADING)
    if _has_half(order, evidence):
        return Trace(BrokerShows.UNSEEN, "the broker shows a deal in one of the two positions only")
    age_sec = evidence.history.age_sec
    return absent(f"no deals close both in the last {age_sec} s of history", evidence, book)


def of_close_by_without_evidence() -> Trace:
    """Return the trace of a close-by on the guide's wire, which shows no deals."""
    return not_known("this gateway keeps no record, and a list does not show what closed them")


def _deals(evidence: Evidence) -> list[Deal]:
    """Return the deals by which positions were closed by each other, each once."""
    shown = (*(evidence.history.deals if evidence.history else ()), *evidence.deals)
    known = {deal.ticket: deal for deal in shown if deal.entry is Entry.OUT_BY and deal.units}
    return list(known.values())


def _pairs(order: Order, evidence: Evidence) -> Iterator[tuple[Deal, Deal]]:
    """Yield the deals of each order that closed the two positions by each other."""
    found: dict[int, dict[int, Deal]] = {}
    for deal in _deals(evidence):
        found.setdefault(deal.order, {})[deal.position] = deal
    for by_position in found.values():
        first, second = by_position.get(order.position), by_position.get(order.position_by)
        if first is not None and second is not None:
            yield first, second


def _of_pair(order: Order, first: Deal, second: Deal, evidence: Evidence) -> Trace:
    # One of the two positions has ended, so another close-by of them cannot follow.
    words = f"by the deals in both positions, order {first.order}"
    earliest = earliest_msc(order, evidence.time_offset_sec)
    if first.time_msc and first.time_msc < earliest:
        words = f"order {first.order} had closed the two positions before it was sent"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True)
    if {first.reason, second.reason} & BY_HAND:
        words = f"order {first.order} closed the two positions by hand"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True)
    return Trace(
        BrokerShows.OPEN,
        words,
        ticket=first.order,
        position=order.position,
        volume=first.volume,
        price=first.price,
    )


def _has_half(order: Order, evidence: Evidence) -> bool:
    """Return whether an order shows a deal in one of the two positions, and in no other position.

    Then its second deal may still appear.
    """
    places: dict[int, set[int]] = {}
    for deal in _deals(evidence):
        places.setdefault(deal.order, set()).add(deal.position)
    return any(len(found) == 1 and found <= order.named for found in places.values())
