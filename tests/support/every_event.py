"""One event of every class, oldest first."""

from __future__ import annotations

from tests.support.make import position
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.wishes import OrderWish, WishAction
from trueup.core.model import Deal, Entry, MarginMode, OrderType, PendingOrder, Side

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
    events.OutcomeDelivered(at_ns=23 * SEC, order_id="A"),
    events.StreamTakenOver(
        at_ns=24 * SEC, stream="EURUSD", position=9, hash="00ff", book=Book().state().decode()
    ),
    events.StreamClosed(at_ns=25 * SEC, by="1@S"),
    events.FiguresNoted(
        at_ns=24 * SEC,
        balance=1_000.0,
        credit=0.0,
        because="first figures",
        currency="USD",
        day_ns=3600 * SEC,
        day_balance=1_000.0,
        day_equity=990.0,
        has_peak=True,
        peak_balance=1_000.0,
        peak_equity=1_010.0,
    ),
    events.LimitReached(
        at_ns=25 * SEC,
        limit="daily loss",
        reason="the account's equity fell by 50.00 USD",
        until="the reset at 2026-01-06 00:00 UTC",
        until_ns=7200 * SEC,
    ),
    events.LimitEnded(at_ns=26 * SEC, limit="daily loss", because="a new day has begun"),
    events.TradingPaused(
        at_ns=27 * SEC, by="Ada", mode=events.TradingMode.CLOSE_ONLY, why="the news"
    ),
    events.TradingResumed(at_ns=28 * SEC, by="Ada", why="after the news"),
    events.ProposalMade(
        at_ns=28 * SEC + 1,
        proposal_id="proposal-1f3a9c02",
        by="mcp:ada/desk",
        key="hedge",
        wish=OrderWish(WishAction.CLOSE, "EURUSD", Side.BUY, 0.1, ticket=5),
        asked=OrderWish(WishAction.CLOSE, ticket=5),
        expires_ns=930 * SEC,
        why="the news",
    ),
    events.ProposalEnded(
        at_ns=28 * SEC + 2,
        proposal_id="proposal-1f3a9c02",
        end=events.ProposalEnd.APPROVED,
        by="Ada",
        because="agreed",
        order_id="B",
    ),
    events.WishRefused(
        at_ns=28 * SEC + 3,
        by="mcp:ada/desk",
        key="hedge",
        wish=OrderWish(WishAction.OPEN, "EURUSD", Side.BUY, 0.1, sl=1.05),
        because="trading is paused by Ada",
    ),
    events.SyncAsked(at_ns=29 * SEC, by="Ada", why="a look"),
    events.BotStopped(at_ns=29 * SEC, by="Ada", why="the machine restarts"),
    events.WatchBegan(at_ns=30 * SEC, gateway="tcp://127.0.0.1:5555"),
    events.BrokerSeen(
        at_ns=31 * SEC,
        server_msc=31_000,
        covered_msc=30_000,
        offset_sec=7_200,
        deals=(Deal(7, 6, 5, "EURUSD", Side.BUY, Entry.IN, 0.1, 1.1),),
        cash=(events.CashDeal(8, "balance", 100.0, 30_500, "deposit"),),
        swaps=(events.SwapMoved(5, 5, "EURUSD", 0.0, -0.42),),
        begin_msc=28_000,
        known=(1, 2),
    ),
    events.ReadingsLost(at_ns=32 * SEC, since_ns=31 * SEC, reason="offline", because="no reply"),
]
