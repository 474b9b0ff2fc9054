"""The table of event words: which words each class of event has.

`words_of` is exhaustive by type: a class of event that it leaves out is an error of the type
checker. Log lines, audit entries, an order's story, the steps of a plan and the figures of a sync
all come from here, so an event cannot be said in one of them and be forgotten in another.
"""

from __future__ import annotations

from typing import Any, assert_never

from trueup.core.book import events
from trueup.observe.event_words import of_account, of_orders, of_positions
from trueup.observe.event_words.words import Words


def _words_of(event: events.AnyEvent) -> Words[Any]:
    match event:
        case events.OrderCreated():
            return of_orders.OfCreated()
        case events.SendStarted():
            return of_orders.OfSendStarted()
        case events.OrderFilled():
            return of_orders.OfFilled()
        case events.OrderApplied():
            return of_orders.OfApplied()
        case events.OrderRejected():
            return of_orders.OfRejected()
        case events.OrderInDoubt():
            return of_orders.OfInDoubt()
        case events.OrderCanceled():
            return of_orders.OfCanceled()
        case events.OrderSettled():
            return of_orders.OfSettled()
        case events.PositionAdopted():
            return of_positions.OfAdopted()
        case events.PositionMissing():
            return of_positions.OfMissing()
        case events.PositionFound():
            return of_positions.OfFound()
        case events.PositionClosed():
            return of_positions.OfClosed()
        case events.PositionCorrected():
            return of_positions.OfCorrected()
        case events.DealsRecorded():
            return of_positions.OfDeals()
        case events.HaltRaised():
            return of_positions.OfHalt()
        case events.PendingAdopted():
            return of_account.OfPendingAdopted()
        case events.PendingClosed():
            return of_account.OfPendingClosed()
        case events.PendingCorrected():
            return of_account.OfPendingCorrected()
        case events.AccountBound():
            return of_account.OfBound()
        case events.HistoryCompared():
            return of_account.OfCompared()
        case events.LossFound():
            return of_account.OfLoss()
        case events.LossAccepted():
            return of_account.OfLossAccepted()
        case _:
            assert_never(event)


# A recovery says ten thousand events, so the words of a class are looked for once.
_KNOWN: dict[type[events.Event], Words[Any]] = {}


def words_of(event: events.Event) -> Words[Any]:
    """Return the words of an event."""
    found = _KNOWN.get(type(event))
    if found is None:
        found = _KNOWN[type(event)] = _words_of(events.as_any(event))
    return found
