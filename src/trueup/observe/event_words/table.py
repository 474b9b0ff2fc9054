"""The table of event words: the words for each class of event.

`words_of` is exhaustive by type: the type checker reports a class of event that is missing here.
Log lines, audit entries, the history of an order, the steps of a plan and the figures of a sync all
come from this table, so no event can be present in some of them and forgotten in others.
"""

from __future__ import annotations

from typing import Any, assert_never

from trueup.core.book import events
from trueup.observe.event_words import (
    of_account,
    of_assistants,
    of_limits,
    of_orders,
    of_persons,
    of_positions,
    of_watch,
)
from trueup.observe.event_words.words import Words


def _words_of(event: events.AnyEvent) -> Words[Any]:
    # A match rather than a dictionary, so that the type checker proves that no class is missing.
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
        case events.OutcomeDelivered():
            return of_orders.OfDelivered()
        # Corrections of positions by a sync.
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
        # Pending orders, the account and the journal.
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
        case events.StreamTakenOver():
            return of_account.OfTakenOver()
        case events.StreamClosed():
            return of_account.OfStreamClosed()
        case events.FiguresNoted():
            return of_limits.OfFigures()
        case events.LimitReached():
            return of_limits.OfReached()
        case events.LimitEnded():
            return of_limits.OfEnded()
        case events.TradingPaused():
            return of_persons.OfPaused()
        case events.TradingResumed():
            return of_persons.OfResumed()
        case events.SyncAsked():
            return of_persons.OfSyncAsked()
        case events.BotStopped():
            return of_persons.OfStopped()
        # What assistants ask for.
        case events.ProposalMade():
            return of_assistants.OfProposal()
        case events.ProposalEnded():
            return of_assistants.OfProposalEnd()
        case events.WishRefused():
            return of_assistants.OfRefusal()
        # What a watch beside another bot notes.
        case events.WatchBegan():
            return of_watch.OfBegan()
        case events.BrokerSeen():
            return of_watch.OfSeen()
        case events.ReadingsLost():
            return of_watch.OfLost()
        case _:
            assert_never(event)


# A recovery may log ten thousand events, so find the words of each class only once.
_KNOWN: dict[type[events.Event], Words[Any]] = {}


def words_of(event: events.Event) -> Words[Any]:
    """Return the words of an event."""
    found = _KNOWN.get(type(event))
    if found is None:
        found = _KNOWN[type(event)] = _words_of(events.as_any(event))
    return found
