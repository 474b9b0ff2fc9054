"""Compute ids of inferred changes from the evidence, so that the same change has the same id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import assert_never

from trueup.core.book import events
from trueup.core.model import PendingOrder, Position
from trueup.core.quantity import to_units


def step_id(kind: str, row: Position | PendingOrder) -> str:
    """Return the short id of a step about a position or an order, such as ghost-1f3a9c02.

    The same difference has the same id in every run, and a changed difference has another id. So an
    approval applies to exactly this difference.
    """
    # Profit, swap and current price are left out: they change with every quotation.
    key = row.identifier if isinstance(row, Position) else row.ticket
    figures = (row.volume, row.price_open, row.sl, row.tp)
    kind_of = row.side.value if isinstance(row, Position) else row.type.value
    text = f"{kind} {key} {row.ticket} {row.symbol} {row.magic} {kind_of} "
    text += " ".join(str(to_units(figure)) for figure in figures)
    return f"{kind}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


# Fields that change from reading to reading by themselves, as gateways of the guide name them.
MOVING = frozenset({"profit", "swap", "price_current", "current_price", "commission"})


def row_id(row: object) -> str:
    """Return the short id of a raw row that cannot be trusted, such as row-1f3a9c02.

    The same row has the same id in every reading, even if its prices and profit change. An approval
    applies to exactly this row.
    """
    if isinstance(row, Mapping):
        kept = sorted((str(k), repr(v)) for k, v in row.items() if str(k) not in MOVING)
        text = repr(kept)
    else:
        text = repr(row)
    return f"row-{hashlib.blake2b(text.encode(errors='replace'), digest_size=4).hexdigest()}"


def change_id(event: events.Event) -> tuple[str, int]:
    """Return an id for the change by an event, without its time, and the key of its row.

    The key is a position's identifier or an order's ticket. Two plans with the same changes have
    the same ids in the same order.
    """
    # Each id contains the facts that a repeated plan may change, such as a late fill or more deals,
    # so that a plan with other facts counts as another plan.
    kind = type(event).__name__
    known = events.as_any(event)
    match known:
        case (
            events.PositionAdopted(position=row)
            | events.PositionMissing(position=row)
            | events.PositionFound(position=row)
            | events.PositionCorrected(remote=row)
        ):
            return step_id(kind, row), row.identifier
        case (
            events.PositionClosed(position=row, realised_units=units)
            | events.DealsRecorded(position=row, realised_units=units)
        ):
            return f"{step_id(kind, row)} {units}", row.identifier
        case events.PendingAdopted(order=order) | events.PendingCorrected(remote=order):
            return step_id(kind, order), order.ticket
        case events.PendingClosed(order=order, filled=filled, position=position):
            return f"{step_id(kind, order)} {to_units(filled)} {position}", order.ticket
        case events.AccountBound(login=login, server=server):
            facts = f"{known.margin_mode.value} {known.fifo_close} {known.currency_digits}"
            return f"{kind} {login}@{server} {known.currency} {facts}", 0
        case events.HaltRaised(identifier=identifier):
            return f"{kind}-{identifier}", identifier
        case events.OrderSettled(order_id=order_id, ticket=ticket, volume=volume):
            price = "" if known.price is None else to_units(known.price)
            return f"{kind}-{order_id} {ticket} {to_units(volume)} {price}", 0
        case events.OrderCanceled(order_id=order_id, unproven=unproven):
            return f"{kind}-{order_id} {unproven}", 0
        case events.OrderEvent(order_id=order_id):
            return f"{kind}-{order_id}", 0
        case events.LimitReached(limit=limit) | events.LimitEnded(limit=limit):
            return f"{kind}-{limit}", 0
        case events.FiguresNoted(day_ns=day_ns, deals_msc=deals_msc):
            return f"{kind} {day_ns} {deals_msc}", 0
        case events.TradingPaused(mode=mode):
            return f"{kind} {mode.value}", 0
        case events.TradingResumed() | events.SyncAsked() | events.BotStopped():
            return kind, 0
        case events.ProposalMade(proposal_id=proposal) | events.ProposalEnded(proposal_id=proposal):
            return f"{kind}-{proposal}", 0
        case events.WishRefused(key=key):
            return f"{kind} {key}", 0
        case events.HistoryCompared() | events.LossFound() | events.LossAccepted():
            return kind, 0
        case events.StreamTakenOver(stream=stream, hash=tip):
            return f"{kind} {stream} {tip}", 0
        case events.StreamClosed(by=stream):
            return f"{kind} {stream}", 0
        case events.WatchBegan() | events.BrokerSeen() | events.ReadingsLost():
            # Each is an observation at its time, and no plan has one.
            return f"{kind} {known.at_ns}", 0
    assert_never(known)
