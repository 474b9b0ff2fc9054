"""The events of a book, for `@account.on(...)`: facts that the journal records, oldest first.

    from trueup.events import PositionRecovered

    @account.on(PositionRecovered)
    def recovered(event: PositionRecovered) -> None:
        print(event.position.ticket)

Each class has the fields of its facts; `at_ns` is the time in nanoseconds of UTC since 1970.
"""

from __future__ import annotations

from trueup.core.book.events import (
    AccountBound,
    DealsRecorded,
    Event,
    HaltRaised,
    HistoryCompared,
    LimitEnded,
    LimitReached,
    LossAccepted,
    LossFound,
    OrderApplied,
    OrderCanceled,
    OrderCreated,
    OrderFilled,
    OrderInDoubt,
    OrderRejected,
    OrderSettled,
    PendingAdopted,
    PendingClosed,
    PendingCorrected,
    PositionAdopted,
    PositionClosed,
    PositionCorrected,
    PositionFound,
    PositionMissing,
    SendStarted,
)

PositionRecovered = PositionAdopted
"""The guide's word for a position that was found at the broker and is now in the book."""

__all__ = [
    "AccountBound",
    "DealsRecorded",
    "Event",
    "HaltRaised",
    "HistoryCompared",
    "LimitEnded",
    "LimitReached",
    "LossAccepted",
    "LossFound",
    "OrderApplied",
    "OrderCanceled",
    "OrderCreated",
    "OrderFilled",
    "OrderInDoubt",
    "OrderRejected",
    "OrderSettled",
    "PendingAdopted",
    "PendingClosed",
    "PendingCorrected",
    "PositionAdopted",
    "PositionClosed",
    "PositionCorrected",
    "PositionFound",
    "PositionMissing",
    "PositionRecovered",
    "SendStarted",
]
