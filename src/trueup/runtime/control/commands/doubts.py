"""Show the facts about an order in doubt to the user who has to resolve the order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from trueup.core.account.trust import Unknown
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.dates import iso
from trueup.core.doubt.manual import hear, not_in_doubt
from trueup.core.doubt.resolve import Doubt, weigh
from trueup.core.doubt.trace import Trace
from trueup.core.holds import age_of
from trueup.core.look.inputs import NO_STATEMENTS, Statement
from trueup.core.model import Evidence, HistoryOrder
from trueup.core.quantity import format_lots, format_price
from trueup.core.recovery import BrokerShows
from trueup.errors import Refused
from trueup.observe.lines import time_of
from trueup.runtime.sync.observation import Observation
from trueup.runtime.trading.loop import TradingLoop


def order_in_doubt(loop: TradingLoop, order_id: str) -> Order:
    """Return an order that is in doubt.

    Raises:
        Refused: the order is not in doubt; the message tells its state.
    """
    order = loop.pm.book.orders.get(order_id)
    if order is None or order.status is not OrderStatus.IN_DOUBT:
        raise Refused(not_in_doubt(order_id, loop.pm.book))
    return order


def shown(
    loop: TradingLoop, observation: Observation, order: Order, statement: Statement | None
) -> dict[str, Any]:
    """Return the facts that an observation shows of an order in doubt.

    `statement` is the user's statement, None before the user has made one.

    Raises:
        Refused: the broker's data cannot be trusted now, the order needs no manual resolution, or
            the broker contradicts the decision.
    """
    # Without a trusted reading a decision could contradict the broker without notice.
    if isinstance(observation.verdict, Unknown):
        raise Refused(
            f"Nothing can be said of {order.order_id} now: {observation.verdict.sentence}."
        )
    snapshot, book = observation.verdict.snapshot, loop.pm.book
    trace = _weighed(loop, observation, order).trace
    if statement is not None or not trace.needs_person:
        # If the broker or the record can decide, a manual resolution is refused.
        resolution = hear(statement or Statement("", 0), order, trace, snapshot, book)
        if isinstance(resolution, str):
            raise Refused(resolution)
    age_ns = loop.pm.times.age_of_ns(order.entry_ns)
    return {
        "id": order.order_id,
        "order": f"{order.action} {format_lots(order.volume)}L {order.symbol}",
        "sent": iso(order.entry_ns),
        "age": age_of(0, age_ns),
        "magic": order.magic,
        "error": order.error or "",
        "why": f"it {trace.words}",
        "fits": [_candidate(candidate, snapshot.evidence) for candidate in trace.candidates],
    }


def _weighed(loop: TradingLoop, observation: Observation, order: Order) -> Doubt:
    found: Sequence[Doubt] = ()
    if observation.inputs is not None:
        # Only the evidence counts here: the person sees the evidence before a decision is made.
        inputs = msgspec.structs.replace(observation.inputs, book=loop.pm.book, told=NO_STATEMENTS)
        found = [doubt for doubt in weigh(inputs) if doubt.order is order]
    if not found:
        raise Refused(f"{order.order_id} is in {order.symbol}, which this bot does not look at.")
    return found[0]


def _candidate(trace: Trace, evidence: Evidence | None) -> dict[str, Any]:
    """Return an order at the broker that fits, as plain values and as a sentence."""
    state = {
        BrokerShows.OPEN: f"position {trace.position} is open" if trace.position else "it works",
        BrokerShows.CLOSED: f"position {trace.position} has closed since",
    }.get(trace.shows, trace.words.removesuffix(", if it is that one"))
    at = f" @ {format_price(trace.price)}" if trace.price else ""
    lots = f"{format_lots(trace.volume)}L{at}, " if trace.volume else ""
    words = f"{trace.ticket}: {lots}{''.join(_when(trace.ticket, evidence))}{state}"
    return {"ticket": trace.ticket, "words": f"{words}, comment {trace.comment!r}"}


def _when(ticket: int, evidence: Evidence | None) -> Iterator[str]:
    """Yield the set-up time of an order, in UTC if the trade server's offset is known."""
    history = evidence.history if evidence else None
    for past in history.orders if history else ():
        if past.ticket == ticket and past.time_setup_msc:
            yield f"set up {_moment(past, evidence)}, "
            return


def _moment(past: HistoryOrder, evidence: Evidence | None) -> str:
    offset_sec = evidence.time_offset_sec if evidence else None
    at_sec = past.time_setup_msc / 1000 - (offset_sec or 0)
    moment = time_of(dt.datetime.fromtimestamp(at_sec, dt.UTC).isoformat())
    return moment if offset_sec is not None else moment.replace("UTC", "server time")
