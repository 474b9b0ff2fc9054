"""One event of every class, oldest first."""

from __future__ import annotations

from tests.support.make import position
from trueup.core.book import events
from trueup.core.model import MarginMode, OrderType, PendingOrder, Side

SEC = 1_000_000_000
ORDER = PendingOrder(9, "EURUSD", OrderType.BUY_LIMIT, 0.1, 1.05)
P = position(5)
CREATED = events.OrderCreated(
    at_ns=1 * SEC,
    order_id="A",
    symbol="EURUSD",
    side=Side.BUY,
    volume=0.1,
    price=1.1,
    sl=1.05,
    magic=7,
    key="morning",
    why="the cross",
)
EVERY: list[events.Event] = [
    CREATED,
    events.SendStarted(at_ns=2 * SEC, order_id="A"),
    events.OrderInDoubt(at_ns=3 * SEC, order_id="A", error="no reply within 2000 ms"),
    events.OrderSettled(
        at_ns=4 * SEC, order_id="A", ticket=5, volume=0.1, price=1.1, because="case D: its token"
    ),
    events.OrderFilled(
        at_ns=5 * SEC,
        order_id="B",
        ticket=6,
        symbol="EURUSD",
        side=Side.SELL,
        volume=0.1,
        price=1.1,
    ),
    events.OrderRejected(at_ns=6 * SEC, order_id="C", error="no money (10019 NO_MONEY)"),
    events.OrderApplied(at_ns=7 * SEC, order_id="D", ticket=9),
    events.OrderCanceled(at_ns=8 * SEC, order_id="E", because="case B: it never left"),
    events.PositionAdopted(at_ns=9 * SEC, position=P),
    events.PositionMissing(at_ns=10 * SEC, position=P, because="deal not visible yet"),
    events.PositionFound(at_ns=11 * SEC, position=P),
    events.PositionCorrected(
        at_ns=12 * SEC, local=P, remote=position(5, volume=0.02), fields=("volume",)
    ),
    events.DealsRecorded(
        at_ns=13 * SEC, position=P, deals=(1,), realised_units=5, because="deals recorded"
    ),
    events.PositionClosed(at_ns=14 * SEC, position=P, because="closed by its stop loss"),
    events.PendingAdopted(at_ns=15 * SEC, order=ORDER),
    events.PendingCorrected(at_ns=16 * SEC, local=ORDER, remote=ORDER, fields=("sl",)),
    events.PendingClosed(at_ns=17 * SEC, order=ORDER, because="canceled"),
    events.HaltRaised(
        at_ns=18 * SEC, symbol="EURUSD", identifier=5, order_id="A", because="case C: not sent"
    ),
    events.AccountBound(
        at_ns=19 * SEC, login=1, server="S", currency="USD", margin_mode=MarginMode.HEDGING
    ),
    events.HistoryCompared(at_ns=20 * SEC, since_msc=1, until_msc=2, agreed=3),
    events.LossFound(at_ns=21 * SEC, because="an older copy was put back", orders=2),
    events.LossAccepted(at_ns=22 * SEC, by="Ada"),
]
